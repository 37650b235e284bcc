package layout

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/store/storetest"
)

func TestSplitText(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	texts := []string{"", "x", "\n", "a 1\nb 2", strings.Repeat("same.\t1\n", 300000), strings.Repeat("y", 3<<20),
		storetest.ZoneText(3000, nil)}
	for range 50 {
		var b strings.Builder
		for range rng.IntN(3000) {
			fmt.Fprintf(&b, "n%d.\t%d\n", rng.IntN(1000), rng.Uint64())
		}
		texts = append(texts, b.String())
	}
	for _, text := range texts {
		var joined strings.Builder
		for _, r := range splitText(text) {
			if r.Text == "" || NewRun(r.Text).Hash != r.Hash {
				t.Fatal("an empty or wrongly hashed run")
			}
			joined.WriteString(r.Text)
		}
		if joined.String() != text {
			t.Fatalf("%.40q...: the runs do not make the text again", text)
		}
	}
}

func TestTextCacheIsBounded(t *testing.T) {
	cache := NewTextCache(1000)
	for i := range 100 {
		cache.Put(NewRun(strings.Repeat(fmt.Sprint(i%10), 90+i)))
		sum := 0
		for _, s := range cache.runs {
			sum += len(s)
		}
		if sum != cache.bytes || sum > 1000 {
			t.Fatalf("%d bytes kept, %d counted", sum, cache.bytes)
		}
	}
	cache.Put(NewRun(strings.Repeat("x", 2000)))
	if len(cache.runs) == 0 || cache.bytes > 1000 {
		t.Errorf("a run larger than the cache left %d runs", len(cache.runs))
	}
}
