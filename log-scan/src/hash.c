// The two hash functions of journal files.
#include "scan.h"

#include <string.h>

static inline uint64_t rotate64(uint64_t value, unsigned by)
{
	return value << by | value >> (64 - by);
}

static inline uint32_t rotate32(uint32_t value, unsigned by)
{
	return value << by | value >> (32 - by);
}

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = rotate64(s->v1, 13) ^ s->v0;
	s->v0 = rotate64(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotate64(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotate64(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotate64(s->v1, 17) ^ s->v2;
	s->v2 = rotate64(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
	s->v3 ^= word;
	sip_round(s);
	sip_round(s);
	s->v0 ^= word;
}

uint64_t siphash24(const uint8_t key[16], const uint8_t *bytes, size_t length)
{
	uint64_t k0 = load64(key);
	uint64_t k1 = load64(key + 8);
	struct sip s = { k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du, k0 ^ 0x6c7967656e657261u,
			 k1 ^ 0x7465646279746573u };
	size_t at = 0;
	for (; at + 8 <= length; at += 8) {
		sip_word(&s, load64(bytes + at));
	}
	uint64_t last = (uint64_t)(length & 0xff) << 56;
	for (unsigned shift = 0; at < length; at++, shift += 8) {
		last |= (uint64_t)bytes[at] << shift;
	}
	sip_word(&s, last);
	s.v2 ^= 0xff;
	for (int round = 0; round < 4; round++) {
		sip_round(&s);
	}
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

static inline uint32_t tail32(const uint8_t *bytes, size_t length, size_t from)
{
	uint32_t word = 0;
	if (from < length) {
		memcpy(&word, bytes + from, length - from < 4 ? length - from : 4);
	}
	return word;
}

uint64_t jenkins_hash64(const uint8_t *bytes, size_t length)
{
	uint32_t a = 0xdeadbeef + (uint32_t)length;
	uint32_t b = a;
	uint32_t c = a;
	while (length > 12) {
		a += load32(bytes);
		b += load32(bytes + 4);
		c += load32(bytes + 8);
		a = (a - c) ^ rotate32(c, 4);
		c += b;
		b = (b - a) ^ rotate32(a, 6);
		a += c;
		c = (c - b) ^ rotate32(b, 8);
		b += a;
		a = (a - c) ^ rotate32(c, 16);
		c += b;
		b = (b - a) ^ rotate32(a, 19);
		a += c;
		c = (c - b) ^ rotate32(b, 4);
		b += a;
		bytes += 12;
		length -= 12;
	}
	if (length > 0) {
		a += tail32(bytes, length, 0);
		b += tail32(bytes, length, 4);
		c += tail32(bytes, length, 8);
		c = (c ^ b) - rotate32(b, 14);
		a = (a ^ c) - rotate32(c, 11);
		b = (b ^ a) - rotate32(a, 25);
		c = (c ^ b) - rotate32(b, 16);
		a = (a ^ c) - rotate32(c, 4);
		b = (b ^ a) - rotate32(a, 14);
		c = (c ^ b) - rotate32(b, 24);
	}
	return (uint64_t)c << 32 | b;
}
