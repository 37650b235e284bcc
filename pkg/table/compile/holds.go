package compile

import (
	"maps"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table"
)

// holds are the overrides that freeze one service. Of several in force the first by key counts.
type holds struct {
	all map[spec.Key]*spec.Override
	now *spec.Override // that counts; nil: none is in force
	end time.Time      // when that ends; zero: never
}

// heldService gives the service that an override of that key holds.
func heldService(k spec.Key, o *spec.Override) spec.Key {
	return spec.Key{Tenant: k.Tenant, Kind: spec.KindService, Name: o.Service}
}

func (c *Compiler) putHold(k spec.Key, o *spec.Override) {
	service := heldService(k, o)
	if c.holds[service] == nil {
		c.holds[service] = &holds{all: map[spec.Key]*spec.Override{}}
	}
	c.holds[service].all[k] = o
	c.dirty.services[service] = true
}

func (c *Compiler) dropHold(k spec.Key, o *spec.Override) {
	service := heldService(k, o)
	delete(c.holds[service].all, k)
	c.dirty.services[service] = true
}

// turnHolds finds out which holds are in force now. Services whose hold changed are compiled anew.
func (c *Compiler) turnHolds(now time.Time) {
	for service, h := range c.holds {
		was := h.now
		h.now, h.end = nil, time.Time{}
		for _, k := range slices.SortedFunc(maps.Keys(h.all), spec.Key.Compare) {
			if end, holds := steer.InForce(h.all[k], now); holds {
				h.now, h.end = h.all[k], end
				break
			}
		}
		if h.now != was {
			c.dirty.services[service] = true
		}
		if len(h.all) == 0 {
			delete(c.holds, service)
		}
	}
}

// nextHold gives the earlier of next, zero for never, and when a hold ends.
func (c *Compiler) nextHold(next time.Time) time.Time {
	for _, h := range c.holds {
		if !h.end.IsZero() && (next.IsZero() || h.end.Before(next)) {
			next = h.end
		}
	}
	return next
}

// heldBy gives the hold on a service; nil: it is not held.
func (c *Compiler) heldBy(service spec.Key) *spec.Override {
	if h := c.holds[service]; h != nil {
		return h.now
	}
	return nil
}

// heldNow counts what is held.
func (c *Compiler) heldNow() (n table.Held) {
	for k, h := range c.holds {
		s := c.services[k]
		if h.now == nil || s == nil {
			continue
		}
		n.Services++
		for _, p := range s.uses {
			for form, d := range p.draws {
				if form.Held == h.now && d.apart {
					n.Apart++
				}
			}
		}
	}
	return n
}
