package rig

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"strings"
)

// Query is a question for a name's A with EDNS; with a client's network of /24, unless client is 0.
func Query(name string, client uint32) []byte {
	q := []byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		q = append(append(q, byte(len(label))), label...)
	}
	q = append(q, 0, 0, 1, 0, 1)                           // the root; A, IN
	q = append(q, 0, 0, 41, 1232>>8, 1232&255, 0, 0, 0, 0) // OPT of 1232 bytes
	if client == 0 {
		return append(q, 0, 0)
	}
	q = append(q, 0, 11, 0, 8, 0, 7, 0, 1, 24, 0) // client subnet, IPv4, /24
	return append(q, byte(client>>24), byte(client>>16), byte(client>>8))
}

// Elsewhere is a client in none of the places that worlds match, nor in a special-purpose block: TEST-NET's neighbour, in Peru.
const Elsewhere = 200<<24 | 48<<16 | 225<<8

// WriteQueries writes n questions for names, in any order, from clients anywhere, each behind its length in two bytes.
func WriteQueries(file string, n int, name func(random *rand.Rand) string) error {
	random := rand.New(rand.NewPCG(7, 7)) // the same in every run
	var all []byte
	for range n {
		client := uint32(1+random.IntN(9))<<24 | random.Uint32()>>8 // 1.0.0.0 to 9.255.255.255: all over the world
		q := Query(name(random), client)
		all = binary.BigEndian.AppendUint16(all, uint16(len(q)))
		all = append(all, q...)
	}
	return os.WriteFile(file, all, 0o644)
}

// Steered gives the name of one of so many services.
func Steered(services int) func(*rand.Rand) string {
	return func(random *rand.Rand) string { return Host(random.IntN(services)) }
}
