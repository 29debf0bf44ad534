import type { FileHandle } from "node:fs/promises";
import { findByGnuHash } from "./elf-gnu-hash.ts";
import { Image, InvalidElf, word } from "./elf-image.ts";

export { InvalidElf } from "./elf-image.ts";

export interface ElfFile {
  /** DT_SONAME. */
  readonly soname: string | null;
  /** NT_GNU_BUILD_ID in hex. */
  readonly buildId: string | null;
  /**
   * Those of the wanted symbols that the object defines, with the file offset of their first byte (what a uprobe
   * takes); null where the address lies in no segment that has bytes in the file.
   */
  readonly exports: ReadonlyMap<string, number | null>;
  /** The section headers lie beyond the end: the file was cut, although what the loader needs is there. */
  readonly truncated: boolean;
  /** Byte ranges of read-only data: where string constants are. */
  readonly readOnlyData: readonly Range[];
}

interface Range {
  readonly offset: number;
  readonly length: number;
}

interface Segment extends Range {
  readonly type: number;
  readonly address: number;
}

/** Upper limits of what is read, whatever the file claims: real CUDA libraries stay far below. */
const MAX_PROGRAM_HEADERS = 128;
const MAX_SECTION_HEADERS = 8192;
const MAX_DYNAMIC = 1 << 16;
const MAX_NOTES = 1 << 16;
const MAX_SYMBOLS = 1 << 20;
const MAX_STRINGS = 32 << 20;
const MAX_SONAME = 256;
const MAX_MARKER_BYTES = 4 << 20;
const MAX_OCCURRENCES = 64;

/** System V ABI and its x86-64 supplement; GNU's hash table. */
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_NOTE = 4;
const DT_HASH = 4;
const DT_STRTAB = 5;
const DT_SYMTAB = 6;
const DT_STRSZ = 10;
const DT_SONAME = 14;
const DT_GNU_HASH = 0x6ffffef5;
const SHT_PROGBITS = 1;
const SHT_DYNSYM = 11;
const SHF_WRITE = 1;
const SHF_ALLOC = 2;
const SHF_EXECINSTR = 4;
const NT_GNU_BUILD_ID = 3;
const EM_X86_64 = 62;
const HEADER = 64;
const PROGRAM_HEADER = 56;
const SECTION_HEADER = 64;
const SYMBOL = 24;

/**
 * Reads what tells a library: SONAME, build id and which of the `wanted` names it exports. The dynamic section is
 * believed before section headers, because it is what the loader uses and strip leaves it.
 * @throws InvalidElf for anything that is not a sound ELF64 x86-64 file; errors of read(2) as they come.
 */
export async function readElf(handle: FileHandle, wanted: readonly string[]): Promise<ElfFile> {
  const image = new Image(handle, (await handle.stat()).size);
  const header = await readHeader(image);
  const segments = await readSegments(image, header);
  const loads = segments.filter((segment) => segment.type === PT_LOAD);
  for (const load of loads) {
    if (load.offset + load.length > image.size) {
      throw new InvalidElf(`the file is cut: a segment ends at byte ${load.offset + load.length} of ${image.size}`);
    }
  }
  const sections = await readSections(image, header);
  const dynamic = await readDynamic(image, segments);
  const symbols = await readSymbols(image, loads, dynamic, sections?.dynamicSymbols ?? null, wanted);
  return {
    ...symbols,
    buildId: await readBuildId(image, segments),
    truncated: sections === null,
    readOnlyData: sections === null || sections.readOnlyData.length === 0 ? loads : sections.readOnlyData,
  };
}

/** Those of the `markers` that are in the file's read-only data, of which the first 4 MiB are searched. */
export async function findMarkers(
  handle: FileHandle,
  elf: ElfFile,
  markers: readonly string[],
): Promise<ReadonlySet<string>> {
  const image = new Image(handle, (await handle.stat()).size);
  const found = new Set<string>();
  let left = MAX_MARKER_BYTES;
  for (const { offset, length } of elf.readOnlyData) {
    const bytes = await image.bytes(offset, Math.min(length, left), "read-only data");
    for (const marker of markers) if (bytes.includes(marker, 0, "latin1")) found.add(marker);
    left -= bytes.length;
    if (left === 0 || found.size === markers.length) break;
  }
  return found;
}

async function readHeader(image: Image): Promise<Buffer> {
  if (image.size === 0) throw new InvalidElf("the file is empty");
  if (image.size < HEADER) throw new InvalidElf(`the file has ${image.size} bytes: too short for an ELF header`);
  const header = await image.bytes(0, HEADER, "ELF header");
  if (header.readUInt32BE(0) !== 0x7f454c46) throw new InvalidElf("not an ELF file: the magic number is wrong");
  if (header[4] !== 2 || header[5] !== 1 || header.readUInt16LE(18) !== EM_X86_64) {
    throw new InvalidElf("an ELF file of another machine: not 64-bit x86-64");
  }
  return header;
}

async function readSegments(image: Image, header: Buffer): Promise<Segment[]> {
  const count = header.readUInt16LE(56);
  if (count === 0 || count > MAX_PROGRAM_HEADERS || header.readUInt16LE(54) !== PROGRAM_HEADER) {
    throw new InvalidElf(
      `${count} program headers of ${header.readUInt16LE(54)} bytes: not an object that can be loaded`,
    );
  }
  const table = await image.bytes(word(header, 32), count * PROGRAM_HEADER, "program headers");
  return Array.from({ length: count }, (_, index) => {
    const at = index * PROGRAM_HEADER;
    return {
      type: table.readUInt32LE(at),
      offset: word(table, at + 8),
      address: word(table, at + 16),
      length: word(table, at + 32),
    };
  });
}

interface Sections {
  /** Number of symbols that the .dynsym header claims. */
  readonly dynamicSymbols: number | null;
  readonly readOnlyData: readonly Range[];
}

/** Null when the headers lie beyond the end of the file; empty when the file has none. */
async function readSections(image: Image, header: Buffer): Promise<Sections | null> {
  const offset = word(header, 40);
  const count = header.readUInt16LE(60);
  if (offset === 0 || count === 0) return { dynamicSymbols: null, readOnlyData: [] };
  if (header.readUInt16LE(58) !== SECTION_HEADER || count > MAX_SECTION_HEADERS) {
    return { dynamicSymbols: null, readOnlyData: [] };
  }
  if (offset + count * SECTION_HEADER > image.size) return null;
  const table = await image.bytes(offset, count * SECTION_HEADER, "section headers");
  let dynamicSymbols: number | null = null;
  const readOnlyData: Range[] = [];
  for (let at = 0; at < table.length; at += SECTION_HEADER) {
    const type = table.readUInt32LE(at + 4);
    const flags = word(table, at + 8);
    const range = { offset: word(table, at + 24), length: word(table, at + 32) };
    if (type === SHT_DYNSYM) dynamicSymbols = Math.floor(range.length / SYMBOL);
    const readOnly = (flags & (SHF_WRITE | SHF_ALLOC | SHF_EXECINSTR)) === SHF_ALLOC;
    if (type === SHT_PROGBITS && readOnly && range.offset + range.length <= image.size) readOnlyData.push(range);
  }
  return { dynamicSymbols, readOnlyData };
}

async function readDynamic(image: Image, segments: readonly Segment[]): Promise<ReadonlyMap<number, number>> {
  const entries = new Map<number, number>();
  const segment = segments.find((one) => one.type === PT_DYNAMIC);
  if (segment === undefined) return entries;
  const bytes = await image.bytes(segment.offset, Math.min(segment.length, MAX_DYNAMIC), "dynamic section");
  for (let at = 0; at + 16 <= bytes.length; at += 16) {
    const tag = word(bytes, at);
    if (tag === 0) break;
    if (!entries.has(tag)) entries.set(tag, word(bytes, at + 8));
  }
  return entries;
}

/** File offset of an address; null when no loaded segment has it in the file. */
function offsetOf(loads: readonly Segment[], address: number): number | null {
  const segment = loads.find((one) => address >= one.address && address < one.address + one.length);
  return segment === undefined ? null : address - segment.address + segment.offset;
}

async function readSymbols(
  image: Image,
  loads: readonly Segment[],
  dynamic: ReadonlyMap<number, number>,
  sectionCount: number | null,
  wanted: readonly string[],
): Promise<Pick<ElfFile, "soname" | "exports">> {
  const stringsAddress = dynamic.get(DT_STRTAB);
  const tableAddress = dynamic.get(DT_SYMTAB);
  if (stringsAddress === undefined || tableAddress === undefined) return { soname: null, exports: new Map() };
  const stringsAt = offsetOf(loads, stringsAddress);
  const tableAt = offsetOf(loads, tableAddress);
  const stringBytes = dynamic.get(DT_STRSZ) ?? 0;
  if (stringsAt === null || tableAt === null) throw new InvalidElf("the dynamic symbols lie outside every segment");
  if (stringBytes > MAX_STRINGS) throw new InvalidElf(`a dynamic string table of ${stringBytes} bytes`);
  image.assertHas(stringsAt, stringBytes, "dynamic strings");
  const strings = { offset: stringsAt, length: stringBytes };
  const sonameAt = dynamic.get(DT_SONAME);
  const soname = sonameAt === undefined ? null : await readString(image, strings, sonameAt, MAX_SONAME);
  const hash = dynamic.get(DT_GNU_HASH);
  const hashAt = hash === undefined ? null : offsetOf(loads, hash);
  if (hashAt !== null) return { soname, exports: await lookUp(image, loads, strings, tableAt, hashAt, wanted) };
  const count = (await countSymbols(image, loads, dynamic)) ?? sectionCount ?? 0;
  if (count > MAX_SYMBOLS) throw new InvalidElf(`${count} dynamic symbols`);
  const table = await image.bytes(tableAt, count * SYMBOL, "dynamic symbols");
  return {
    soname,
    exports: findExports(await image.bytes(stringsAt, stringBytes, "dynamic strings"), table, loads, wanted),
  };
}

/** As the loader finds them, by the hash table: a few bytes of a library with a hundred thousand symbols. */
async function lookUp(
  image: Image,
  loads: readonly Segment[],
  strings: Range,
  tableAt: number,
  hashAt: number,
  wanted: readonly string[],
): Promise<Map<string, number | null>> {
  const exports = new Map<string, number | null>();
  for (const { name, index } of await findByGnuHash(image, hashAt, wanted)) {
    const symbol = await image.bytes(tableAt + index * SYMBOL, SYMBOL, "dynamic symbol");
    if (!isExported(symbol, 0)) continue;
    if ((await readString(image, strings, symbol.readUInt32LE(0), name.length + 1)) !== name) continue;
    exports.set(name, offsetOf(loads, word(symbol, 8)));
  }
  return exports;
}

/** Defined in this object, and not local. */
function isExported(table: Buffer, at: number): boolean {
  return table.readUInt8(at + 4) >> 4 !== 0 && table.readUInt16LE(at + 6) !== 0;
}

/** Looks for the wanted names in the string table first: most libraries have none, and no symbol need be decoded. */
function findExports(
  strings: Buffer,
  table: Buffer,
  loads: readonly Segment[],
  wanted: readonly string[],
): Map<string, number | null> {
  const names = new Map<number, string>();
  for (const name of wanted) {
    const needle = Buffer.from(`${name}\0`, "latin1");
    let at = strings.indexOf(needle);
    for (let seen = 0; at !== -1 && seen < MAX_OCCURRENCES; seen += 1) {
      names.set(at, name);
      at = strings.indexOf(needle, at + 1);
    }
  }
  const exports = new Map<string, number | null>();
  if (names.size === 0) return exports;
  for (let at = 0; at < table.length; at += SYMBOL) {
    const name = names.get(table.readUInt32LE(at));
    if (name === undefined || !isExported(table, at)) continue;
    exports.set(name, offsetOf(loads, word(table, at + 8)));
  }
  return exports;
}

/** Number of dynamic symbols by the old hash table; null when there is none. */
async function countSymbols(
  image: Image,
  loads: readonly Segment[],
  dynamic: ReadonlyMap<number, number>,
): Promise<number | null> {
  const classic = dynamic.get(DT_HASH);
  const at = classic === undefined ? null : offsetOf(loads, classic);
  return at === null ? null : (await image.bytes(at, 8, "hash table")).readUInt32LE(4);
}

/** A string of the dynamic string table, of which at most `limit` bytes are read; null when it lies outside. */
async function readString(image: Image, strings: Range, at: number, limit: number): Promise<string | null> {
  if (at >= strings.length) return null;
  const bytes = await image.bytes(strings.offset + at, Math.min(limit, strings.length - at), "dynamic strings");
  const end = bytes.indexOf(0);
  return bytes.toString("utf8", 0, end === -1 ? bytes.length : end);
}

async function readBuildId(image: Image, segments: readonly Segment[]): Promise<string | null> {
  for (const segment of segments) {
    if (segment.type !== PT_NOTE) continue;
    const notes = await image.bytes(segment.offset, Math.min(segment.length, MAX_NOTES), "notes");
    let at = 0;
    while (at + 12 <= notes.length) {
      const nameLength = notes.readUInt32LE(at);
      const length = notes.readUInt32LE(at + 4);
      const nameAt = at + 12;
      const bytesAt = nameAt + Math.ceil(nameLength / 4) * 4;
      const ends = bytesAt + length;
      if (ends > notes.length) break;
      const gnu = notes.toString("latin1", nameAt, nameAt + nameLength) === "GNU\0";
      if (gnu && notes.readUInt32LE(at + 8) === NT_GNU_BUILD_ID && length <= 64)
        return notes.toString("hex", bytesAt, ends);
      at = bytesAt + Math.ceil(length / 4) * 4;
    }
  }
  return null;
}
