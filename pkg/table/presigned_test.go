package table

import (
	"testing"

	"github.com/gti/gtm/pkg/dnswire"
)

// TestDenialsAreBoundedWork: a zone from elsewhere that has deep names, and no NSEC3 records for what is above them, does not have each
// query hash all of them.
func TestDenialsAreBoundedWork(t *testing.T) {
	for _, c := range []struct {
		depth int // labels between the apex and the name that is denied
		found bool
	}{{2, true}, {5, true}, {maxAbove, true}, {maxAbove + 20, false}, {100, false}} {
		q := &dnswire.Query{}
		for i := range c.depth + 1 { // the apex is "z."
			q.LabelOff[i] = uint8(2 * i)
			copy(q.Name[2*i:], "\x01z")
		}
		q.Labels, q.NameLen = c.depth+1, 2*(c.depth+1)+1
		p := &presigned{hashed: true}
		apex := p.hash([]byte("\x01z\x00"))
		p.chain = []link{{key: apex[:], Sig: Sig{Count: 1}}}
		var out Proofs
		p.encloser(&out, q, 1, 1)
		if found := out.Count > 0; found != c.found {
			t.Errorf("%d labels above the name: an encloser was found: %v, want %v", c.depth, found, c.found)
		}
	}
}
