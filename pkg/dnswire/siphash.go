package dnswire

import "math/bits"

// sipKey is a key of SipHash-2-4, as two little-endian words.
type sipKey struct{ k0, k1 uint64 }

// sipState is SipHash at work: fed by whole words, of which the last holds the length.
type sipState struct{ v0, v1, v2, v3 uint64 }

func (k sipKey) start() sipState {
	return sipState{k.k0 ^ 0x736f6d6570736575, k.k1 ^ 0x646f72616e646f6d, k.k0 ^ 0x6c7967656e657261, k.k1 ^ 0x7465646279746573}
}

func (s *sipState) round() {
	s.v0 += s.v1
	s.v1 = bits.RotateLeft64(s.v1, 13) ^ s.v0
	s.v0 = bits.RotateLeft64(s.v0, 32)
	s.v2 += s.v3
	s.v3 = bits.RotateLeft64(s.v3, 16) ^ s.v2
	s.v0 += s.v3
	s.v3 = bits.RotateLeft64(s.v3, 21) ^ s.v0
	s.v2 += s.v1
	s.v1 = bits.RotateLeft64(s.v1, 17) ^ s.v2
	s.v2 = bits.RotateLeft64(s.v2, 32)
}

func (s *sipState) feed(word uint64) {
	s.v3 ^= word
	s.round()
	s.round()
	s.v0 ^= word
}

// end feeds the last word and gives the hash.
func (s *sipState) end(last uint64) uint64 {
	s.feed(last)
	s.v2 ^= 0xFF
	for range 4 {
		s.round()
	}
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3
}
