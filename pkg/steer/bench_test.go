package steer

import (
	"fmt"
	"testing"
)

// crowd makes n items of some weights.
func crowd(n int) []Item {
	items := make([]Item, n)
	for i := range items {
		items[i] = Item{ID: NameID(fmt.Sprint("e", i)), Index: i, Weight: float64(1 + i%10)}
	}
	return items
}

func BenchmarkSticky(b *testing.B) {
	for _, n := range []int{10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			items := crowd(n)
			for b.Loop() {
				Sticky(items, 1).Table.Fill()
			}
		})
		b.Run(fmt.Sprint(n, " unfilled"), func(b *testing.B) {
			table, hash := Sticky(crowd(n), 1).Table, uint64(1)
			for b.Loop() {
				hash = mix(hash + uint64(table.Set(hash)))
			}
		})
	}
}
