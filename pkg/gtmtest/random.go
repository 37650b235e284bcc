package gtmtest

import (
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// seedEnv names the seed that Random is to take instead of the test's own.
const seedEnv = "GTM_SEED"

// Random gives random numbers that are the same in each run of a test, and others for each test. A test that fails tells the seed;
// GTM_SEED=N has all tests take another one.
func Random(t testing.TB) *rand.Rand {
	t.Helper()
	hash := fnv.New64a()
	hash.Write([]byte(t.Name()))
	seed := hash.Sum64()
	if text := os.Getenv(seedEnv); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedEnv, err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s=%d has the same random numbers", seedEnv, seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}
