package rig

import (
	"math/rand/v2"

	"github.com/gti/gtm/bench/peers"
)

// Elsewhere is a client in none of the places that worlds match, nor in a special-purpose block: TEST-NET's neighbour, in Peru.
const Elsewhere = 200<<24 | 48<<16 | 225<<8

// WriteQueries writes n questions for names, in any order, from clients anywhere.
func WriteQueries(file string, n int, name func(random *rand.Rand) string) error {
	return peers.WriteFile(file, n, func(random *rand.Rand) []byte {
		client := uint32(1+random.IntN(9))<<24 | random.Uint32()>>8 // 1.0.0.0 to 9.255.255.255: all over the world
		return peers.Query(name(random), client, false)
	})
}

// Steered gives the name of one of so many services.
func Steered(services int) func(*rand.Rand) string {
	return func(random *rand.Rand) string { return Host(random.IntN(services)) }
}
