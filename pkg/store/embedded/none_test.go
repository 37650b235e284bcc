//go:build noembed

package embedded

import (
	"strings"
	"testing"
)

// TestAProgramWithoutEtcdSaysSo, and what to do.
func TestAProgramWithoutEtcdSaysSo(t *testing.T) {
	_, err := Start(t.Context(), Config{Dir: t.TempDir()})
	for _, err := range []error{err, Run(t.Context(), t.TempDir())} {
		if err == nil || !strings.Contains(err.Error(), "--etcd") || !strings.Contains(err.Error(), "noembed") {
			t.Errorf("it says %v", err)
		}
	}
}
