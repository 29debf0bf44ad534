import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CUDA_RESULTS,
  cudaResult,
  cudaResultName,
  TRANSPORT_ERRORS,
  transportError,
  transportErrorName,
} from "./status.ts";

test("every transport error code from 1 to 11 has one name", () => {
  assert.deepEqual(
    TRANSPORT_ERRORS.map(({ code }) => code),
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
  );
  assert.equal(new Set(TRANSPORT_ERRORS.map(({ name }) => name)).size, TRANSPORT_ERRORS.length);
  assert.equal(transportErrorName(3), "MEDIATOR_UNAVAIL");
  assert.equal(transportErrorName(0x0a), "RATE_LIMITED");
  assert.equal(transportErrorName(0x0b), "VM_QUARANTINED");
});

test("a code that is not known is shown, not renamed", () => {
  assert.equal(transportErrorName(0x0c), "0x0000000c");
  assert.equal(transportError(0), undefined);
  assert.equal(cudaResultName(3000), "CUresult 3000");
  assert.equal(cudaResult(3000), undefined);
});

test("CUDA results have the numbers of cuda.h", () => {
  const names = { 700: "ILLEGAL_ADDRESS", 709: "CONTEXT_IS_DESTROYED", 717: "INVALID_ADDRESS_SPACE" };
  for (const [code, name] of Object.entries(names)) assert.equal(cudaResultName(Number(code)), `CUDA_ERROR_${name}`);
  assert.equal(cudaResultName(0x321), "CUDA_ERROR_NOT_SUPPORTED");
  assert.equal(cudaResultName(0xc8), "CUDA_ERROR_INVALID_IMAGE");
  assert.equal(new Set(CUDA_RESULTS.map(({ code }) => code)).size, CUDA_RESULTS.length);
});
