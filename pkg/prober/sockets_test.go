package prober

import (
	"math"
	"testing"
)

// TestSocketsFitTheLimitOfFiles: checks that hang had 4,096 sockets, also where the process may open 1,024 files, and its DNS had none.
func TestSocketsFitTheLimitOfFiles(t *testing.T) {
	for _, tc := range []struct {
		limit       uint64
		quick, slow int
	}{
		{math.MaxUint64, 256, 4096}, {8704, 256, 4096}, {8702, 256, 4095}, {4096, 256, 1792}, {1024, 128, 384}, {256, 32, 96},
		{64, 16, 48}, {0, 16, 48},
	} {
		if quick, slow := socketBudgets(tc.limit); quick != tc.quick || slow != tc.slow {
			t.Errorf("of %d: %d and %d, want %d and %d", tc.limit, quick, slow, tc.quick, tc.slow)
		}
	}
	if descriptors() == 0 {
		t.Error("no limit is known")
	}
}
