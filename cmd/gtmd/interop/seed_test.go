//go:build interop

package interop

import (
	"os"
	"strconv"
	"testing"
)

// runSeedEnv gives the tests with random questions another seed than the usual one.
const runSeedEnv = "INTEROP_SEED"

// runSeed gives the seed of a test with random questions. It is the same in each run, unless asked otherwise, so that what fails
// has come with a change, and fails again.
func runSeed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(1)
	if s := os.Getenv(runSeedEnv); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("%s: %v", runSeedEnv, err)
		}
	}
	t.Logf("seed %d", seed)
	return seed
}
