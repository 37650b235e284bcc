package table

import (
	"testing"
	"unsafe"

	"github.com/gti/gtm/pkg/table/names"
)

// TestOneCacheLine: a query waits for each of these once.
func TestOneCacheLine(t *testing.T) {
	if n := unsafe.Sizeof(Service{}); n != 64 {
		t.Errorf("a Service has %d bytes", n)
	}
	if n := unsafe.Sizeof(Node{}); n != 64 {
		t.Errorf("a Node has %d bytes", n)
	}
	if n := unsafe.Sizeof(names.Line{}); n != 64 {
		t.Errorf("a name's line has %d bytes", n)
	}
}
