package table

import (
	"testing"
	"unsafe"

	"github.com/gti/gtm/pkg/table/names"
)

// TestServiceIsOneCacheLine: a query waits for it once.
func TestServiceIsOneCacheLine(t *testing.T) {
	if n := unsafe.Sizeof(Service{}); n != 64 {
		t.Errorf("a Service has %d bytes", n)
	}
	if n := unsafe.Sizeof(names.Line{}); n != 64 {
		t.Errorf("a name's line has %d bytes", n)
	}
}
