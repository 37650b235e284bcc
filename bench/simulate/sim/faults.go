package sim

import (
	"time"

	"github.com/gti/gtm/pkg/health"
)

// lease is how long a vantage counts as alive that fell silent, as pkg/prober has it.
const lease = 10 * time.Second

// lame is what is wrong with a vantage.
type lame struct {
	all    bool            // it reaches nothing
	sites  map[string]bool // that it does not reach
	silent time.Duration   // since when it tells nothing; less than zero: it tells
}

// lameness gives what is wrong with a vantage, to be changed.
func (w *watch) lameness(vantage string) *lame {
	if w.lame == nil {
		w.lame = map[string]*lame{}
	}
	if w.lame[vantage] == nil {
		w.lame[vantage] = &lame{sites: map[string]bool{}, silent: -1}
	}
	return w.lame[vantage]
}

func (w *watch) reaches(vantage, site string) bool {
	l := w.lameness(vantage)
	return !l.all && !l.sites[site]
}

func (w *watch) isSilent(vantage string) bool { return w.lameness(vantage).silent >= 0 }

// isAlive reports whether a vantage holds its lease.
func (w *watch) isAlive(vantage string) bool {
	return !w.isSilent(vantage) || w.now-w.lameness(vantage).silent < lease
}

// about gives what the judge knows of vantages beside their sights.
func (w *watch) about() map[string]health.Vantage {
	about := map[string]health.Vantage{}
	for _, v := range w.Vantages {
		sees := 0
		for _, p := range w.pools {
			for _, s := range p.told[v.Name].Endpoints {
				if s.State == health.Up {
					sees++
				}
			}
		}
		about[v.Name] = health.Vantage{Region: v.Region, Network: v.Network, Sees: sees}
	}
	return about
}

// Blind has a vantage reach no endpoint at some sites, or, where none is named, at all.
func (r *Run) Blind(vantage string, sites ...string) {
	l := r.watch.lameness(vantage)
	l.all = len(sites) == 0
	for _, s := range sites {
		l.sites[s] = true
	}
}

// See ends what Blind began.
func (r *Run) See(vantage string) {
	l := r.watch.lameness(vantage)
	l.all = false
	clear(l.sites)
}

// Silence has a vantage die: its last words stay.
func (r *Run) Silence(vantage string) {
	r.watch.lameness(vantage).silent = r.clock.now
	r.clock.after(lease, r.watch.judge)
}
