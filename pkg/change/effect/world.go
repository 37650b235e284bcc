package effect

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/table"
)

// World is a geography with a network for each of its countries, by which that is weighed. Immutable.
type World struct {
	atlas   *geo.Atlas
	samples []sample
	about   string
}

// sample is a client that stands for a country.
type sample struct {
	country string
	weight  float64 // its part of all Internet users
	client  table.Client
}

// NewWorld takes a sample of each country that an atlas knows.
func NewWorld(a *geo.Atlas) *World {
	w := &World{atlas: a}
	total := 0.0
	for _, s := range a.Samples(true) {
		at := table.NetOf(s.Network.Addr(), uint8(s.Network.Bits()))
		weight := max(users[s.Place.Country], leastUsers)
		total += weight
		w.samples = append(w.samples, sample{s.Place.Country, weight,
			table.Client{Subnet: at, Has: true, Resolver: table.HostNet(s.Network.Addr())}})
	}
	for i := range w.samples {
		w.samples[i].weight /= total
	}
	var files []string
	for _, i := range a.Info() {
		files = append(files, fmt.Sprintf("%s of %s", i.File, i.Built.Format(time.DateOnly)))
	}
	w.about = fmt.Sprintf("one network for each of %d countries (%s)", len(w.samples), strings.Join(files, ", "))
	return w
}

// Opener gives a function that opens a geography when it is asked first, and again when its files are others; no files: the built-in
// database. It is safe for concurrent use.
func Opener(files ...string) func() (*World, error) {
	var mu sync.Mutex
	var known *World
	var of string // what the files were
	return func() (*World, error) {
		mu.Lock()
		defer mu.Unlock()
		now := ""
		for _, file := range files {
			info, err := os.Stat(file)
			if err != nil {
				return nil, err
			}
			now += fmt.Sprintln(info.ModTime().UnixNano(), info.Size())
		}
		if known != nil && now == of {
			return known, nil
		}
		atlas, err := geo.Open(files...)
		if err != nil {
			return nil, err
		}
		known, of = NewWorld(atlas), now
		return known, nil
	}
}
