package answer

import (
	"reflect"
	"testing"

	"github.com/gti/gtm/pkg/table"
)

// The compiler keeps a struct in registers only with four fields and 32 bytes at most. What is larger is written to memory and read
// back at once, which costs a tenth of a common answer's time. A rare outcome can be a Kind, as Close is.
func TestResultsGoThroughRegisters(t *testing.T) {
	for _, of := range []reflect.Type{reflect.TypeFor[Outcome](), reflect.TypeFor[table.Set](), reflect.TypeFor[table.Match]()} {
		if of.NumField() > 4 || of.Size() > 32 {
			t.Errorf("%v has %d fields and %d bytes", of, of.NumField(), of.Size())
		}
	}
}
