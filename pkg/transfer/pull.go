package transfer

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"time"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/spec"
)

// pull keeps one zone as its primaries have it.
type pull struct {
	peers  []spec.Peer
	cancel context.CancelFunc
	soon   chan struct{} // a NOTIFY came
}

// listEvery is how often the zones are listed where no news of changes comes.
const listEvery = 30 * time.Second

// Run keeps all zones that have primaries, until ctx ends.
func (c *Control) Run(ctx context.Context) {
	for ctx.Err() == nil {
		var changed <-chan struct{}
		if c.cfg.Changed != nil {
			changed = c.cfg.Changed()
		}
		if state, err := c.cfg.Changer.State(ctx); err == nil {
			c.arrange(ctx, state)
		}
		select {
		case <-ctx.Done():
		case <-changed:
			pause(ctx, time.Second/2) // what changes often is not listed each time
		case <-time.After(listEvery):
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// arrange starts and ends pulls as the configuration wants.
func (c *Control) arrange(ctx context.Context, state *change.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wanted := map[string]bool{}
	for r := range state.Of(spec.KindZone) {
		z := r.Spec.(*spec.Zone)
		if len(z.Primaries) == 0 {
			continue
		}
		wanted[r.Name] = true
		if p := c.pulls[r.Name]; p != nil && reflect.DeepEqual(p.peers, z.Primaries) {
			continue
		} else if p != nil {
			p.cancel()
		}
		of, cancel := context.WithCancel(ctx)
		p := &pull{peers: z.Primaries, cancel: cancel, soon: make(chan struct{}, 1)}
		c.pulls[r.Name] = p
		go c.pull(of, r.Name, p)
	}
	for name, p := range c.pulls {
		if !wanted[name] {
			p.cancel()
			delete(c.pulls, name)
		}
	}
}

// wake has a zone checked now.
func (c *Control) wake(zone string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.pulls[zone]; p != nil {
		select {
		case p.soon <- struct{}{}:
		default:
		}
	}
}

// Times for a zone that was never copied, and for SOA records that ask for too much.
const (
	firstRetry  = time.Second
	longestWait = 7 * 24 * time.Hour
)

// pull looks at the primaries as the SOA record's timers say (RFC 1034, 4.3.5; RFC 1035, 3.3.13).
func (c *Control) pull(ctx context.Context, zone string, p *pull) {
	good := time.Now() // when it was last known to be as the primaries have it; a restart of control begins anew
	retry := firstRetry
	for ctx.Err() == nil {
		began := time.Now()
		have, err := c.contained(ctx, zone, p.peers)
		if ctx.Err() != nil {
			return
		}
		var wait time.Duration
		switch {
		case err == nil && have != nil:
			good, retry = time.Now(), firstRetry
			wait = time.Duration(have.soa().Refresh) * time.Second
		case have == nil:
			wait = retry
			retry = min(2*retry, 5*time.Minute)
		default:
			soa := have.soa()
			wait = time.Duration(soa.Retry) * time.Second
			if time.Since(good) > time.Duration(soa.Expire)*time.Second {
				c.expire(ctx, zone)
			}
		}
		if err != nil {
			c.fetches.WithLabelValues("failed").Inc()
			c.log.Warn("a zone could not be copied from its primaries", "zone", zone, "error", err, "again", wait)
		}
		if have != nil {
			wait = min(max(wait, c.cfg.MinRefresh), longestWait)
		}
		select {
		case <-ctx.Done():
		case <-p.soon: // whose sender may be forged: the primary must not be asked as often as anybody likes
			pause(ctx, time.Until(began.Add(min(c.cfg.MinRefresh, time.Second))))
		case <-time.After(wait):
		}
	}
}

// contained is refresh, and follow, in which a panic is an error: what one primary sends must not end the program.
func (c *Control) contained(ctx context.Context, zone string, peers []spec.Peer) (have *content, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			c.log.Error("copying a zone panicked", "zone", zone, "panic", fault, "stack", string(debug.Stack()))
			have, err = nil, fmt.Errorf("copying panicked: %v", fault)
		}
	}()
	have, err = c.refresh(ctx, zone, peers)
	if err == nil && have != nil {
		err = c.follow(ctx, zone, have)
	}
	return have, err
}

// refresh asks the primaries, the first that answers decides. have is what the zone then holds; nil: nothing.
func (c *Control) refresh(ctx context.Context, zone string, peers []spec.Peer) (have *content, err error) {
	state, err := c.cfg.Changer.State(ctx)
	if err != nil {
		return nil, err
	}
	r := state.Get(zoneKey(zone))
	if r == nil {
		return nil, errGone
	}
	if z := r.Spec.(*spec.Zone); z.Content != "" && !z.Expired {
		if have, err = parseContent(zone, z.Content); err != nil || have.soa() == nil {
			have = nil // something else stands there: ask for everything
		}
	}
	var errs []error
	for _, p := range peers {
		fresh, err := c.from(ctx, zone, p, have)
		if err == nil && fresh == nil {
			c.fetches.WithLabelValues("current").Inc()
			return have, nil
		}
		if err == nil {
			err = c.put(ctx, zone, p, fresh)
		}
		if err == nil {
			c.fetches.WithLabelValues("copied").Inc()
			return fresh, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", p.Address, err))
	}
	return have, errors.Join(errs...)
}

// from fetches from one primary. Where a difference does not fit, everything is fetched.
func (c *Control) from(ctx context.Context, zone string, p spec.Peer, have *content) (*content, error) {
	addr, err := p.AddrPort()
	if err != nil {
		return nil, err
	}
	f := &fetcher{addr: addr, now: c.server.cfg.Now, zone: zone, most: maxFetch}
	if p.Key != "" {
		if f.key = c.server.cfg.Keys.named(p.Key); f.key == nil {
			return nil, fmt.Errorf("control has no TSIG key %s: add it to the file of --tsig-keys", p.Key)
		}
	}
	fresh, err := f.fetch(ctx, have)
	if err != nil && have != nil && ctx.Err() == nil {
		var again error
		if fresh, again = f.fetch(ctx, nil); again != nil {
			return nil, err
		}
		if !newer(fresh.soa().Serial, have.soa().Serial) {
			return nil, nil
		}
		return fresh, nil
	}
	return fresh, err
}

// put makes what was fetched the zone's content.
func (c *Control) put(ctx context.Context, zone string, p spec.Peer, fresh *content) error {
	text := fresh.text()
	return c.edit(ctx, zone, fmt.Sprintf("copied from %s, serial %d", p.Address, fresh.soa().Serial), func(z *spec.Zone) {
		z.Content, z.Expired = text, false
	})
}

// follow makes the zones of a catalog what it lists.
func (c *Control) follow(ctx context.Context, zone string, have *content) error {
	state, err := c.cfg.Changer.State(ctx)
	if err != nil {
		return err
	}
	r := state.Get(zoneKey(zone))
	if r == nil || r.Spec.(*spec.Zone).Members == nil {
		return nil
	}
	listed, err := have.members()
	if err != nil {
		return err
	}
	return c.change(ctx, "as the catalog "+zone+" lists", func(s *change.State) ([]*spec.Resource, []spec.Key, error) {
		catalog := s.Get(zoneKey(zone))
		if catalog == nil {
			return nil, nil, errGone
		}
		return reconcile(s, catalog, listed)
	})
}

var errGone = errors.New("the zone is gone")

// expire takes a zone out of service that its primaries have not confirmed for too long.
func (c *Control) expire(ctx context.Context, zone string) {
	c.log.Error("a zone has expired: none of its primaries has answered for too long", "zone", zone)
	if err := c.edit(ctx, zone, "expired: no primary has answered for too long", func(z *spec.Zone) { z.Expired = true }); err != nil {
		c.log.Error("an expired zone cannot be taken away", "zone", zone, "error", err)
	}
}

func (c *Control) edit(ctx context.Context, zone, message string, do func(*spec.Zone)) error {
	return c.change(ctx, message, func(s *change.State) ([]*spec.Resource, []spec.Key, error) {
		r := s.Get(zoneKey(zone))
		if r == nil || len(r.Spec.(*spec.Zone).Primaries) == 0 {
			return nil, nil, errors.New("the zone is no copy any more")
		}
		z := *r.Spec.(*spec.Zone)
		do(&z)
		return []*spec.Resource{r.With(&z)}, nil, nil
	})
}

func (c *Control) change(ctx context.Context, message string, edit change.Edit) error {
	in := change.Input{Author: "transfer", Message: message, Edit: edit, Copied: true}
	plan, err := c.cfg.Changer.Plan(ctx, in)
	if err != nil || plan.Empty() {
		return err
	}
	_, err = c.cfg.Changer.Apply(ctx, plan)
	return err
}
