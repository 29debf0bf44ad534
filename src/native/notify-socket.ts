import { getSystemErrorName } from "node:util";
import koffi from "koffi";
import { SystemCallError } from "./syscall.ts";

/*
 * The socket on which systemd is told how a service is (sd_notify(3)): a datagram socket, which Node does not have.
 * Numbers are those of Linux, the same on x86-64 and arm64.
 */

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
/** Neither a signal when nobody listens, nor waiting when systemd is busy. */
const NOSIGNAL_DONTWAIT = 0x4000 | 0x40;
/** sun_path of struct sockaddr_un. */
const PATH_BYTES = 108;

export interface NotifySocket {
  /** Sends "READY=1" and the like, one assignment a line. Throws SystemCallError when systemd does not take it. */
  send(text: string): void;
  close(): void;
}

/**
 * Opens the socket that $NOTIFY_SOCKET names; "@" in front means the abstract namespace. Throws SystemCallError, also for a
 * name that is none.
 */
export function openNotifySocket(name: string): NotifySocket {
  const address = addressOf(name);
  const library = koffi.load(null);
  const socket = library.func("int socket(int, int, int)");
  const sendto = library.func("int64_t sendto(int, const void *, size_t, int, const void *, uint32_t)");
  const closeFd = library.func("int close(int)");
  const descriptor: number = socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0);
  if (descriptor < 0) throw failed("socket");
  return {
    send: (text) => {
      const bytes = Buffer.from(text);
      const sent = Number(sendto(descriptor, bytes, bytes.length, NOSIGNAL_DONTWAIT, address, address.length));
      if (sent !== bytes.length) throw failed("sendto");
    },
    close: () => {
      closeFd(descriptor);
    },
  };
}

function addressOf(name: string): Buffer {
  const path = Buffer.from(name);
  const isPlace = name.startsWith("/") || (name.startsWith("@") && name.length > 1);
  if (!isPlace || path.length >= PATH_BYTES || path.includes(0)) {
    throw new SystemCallError("sendto", "EINVAL", "NOTIFY_SOCKET names no socket");
  }
  if (name.startsWith("@")) path[0] = 0;
  const address = Buffer.alloc(2 + path.length + (name.startsWith("@") ? 0 : 1));
  address.writeUInt16LE(AF_UNIX, 0);
  path.copy(address, 2);
  return address;
}

const failed = (call: string): SystemCallError => new SystemCallError(call, getSystemErrorName(-koffi.errno()));
