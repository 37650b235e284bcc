package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/spec"
)

// RCODEs of updates (RFC 2136, 2.2).
const (
	rcodeYXDomain = 6
	rcodeYXRRSet  = 7
	rcodeNXRRSet  = 8
	rcodeNotZone  = 10
)

// rcodeError is an outcome of an update.
type rcodeError uint16

func (e rcodeError) Error() string { return dnswire.RcodeString(uint16(e)) }

// update applies a dynamic update as a change like any other, and gives the RCODE.
func (c *Control) update(ctx context.Context, x *exchange) uint16 {
	if x.sess == nil {
		return dnswire.RcodeRefused
	}
	if x.qtype != dnswire.TypeSOA || x.class != dnswire.ClassIN {
		return dnswire.RcodeFormErr
	}
	u := &updater{origin: dnswire.NameString(x.name), msg: new(dns.Msg)}
	if err := u.msg.Unpack(x.plain); err != nil {
		return dnswire.RcodeFormErr
	}
	r, z, err := c.zoneSpec(ctx, x)
	switch {
	case err != nil:
		c.log.Error("an update cannot be applied", "zone", u.origin, "error", err)
		return dnswire.RcodeServFail
	case z == nil || len(z.Primaries) > 0:
		return rcodeNotAuth
	}
	if rcode := u.prescan(); rcode != 0 {
		return rcode
	}
	u.rules = slices.DeleteFunc(slices.Clone(z.Update), func(rule spec.UpdateRule) bool { return !x.keyed(rule.Key) })
	if len(u.rules) == 0 {
		c.log.Warn("an update is refused", "zone", u.origin, "client", x.m.Source, "key", x.keyName())
		return dnswire.RcodeRefused
	}
	return c.applyUpdate(ctx, u, r.Key, change.KeyAuthor+strings.TrimSuffix(x.sess.key.name, "."), x.m.Source.Addr().String())
}

func (c *Control) applyUpdate(ctx context.Context, u *updater, key spec.Key, author, from string) uint16 {
	in := change.Input{Author: author, Message: "UPDATE from " + from + ": " + u.summary(),
		Edit: func(s *change.State) ([]*spec.Resource, []spec.Key, error) {
			return u.edit(s.Get(key))
		}}
	plan, err := c.cfg.Changer.Plan(ctx, in)
	if err == nil && !plan.Empty() {
		_, err = c.cfg.Changer.Apply(ctx, plan)
	}
	var outcome rcodeError
	var faults spec.Errors
	var guarded *change.RefusedError
	switch {
	case err == nil:
		return dnswire.RcodeSuccess
	case errors.As(err, &guarded):
		c.log.Warn("an update is refused by a guard", "zone", u.origin, "client", from, "author", author, "error", err)
		return dnswire.RcodeRefused
	case errors.As(err, &outcome):
		return uint16(outcome)
	case errors.As(err, &faults):
		c.log.Warn("an update is refused: the zone would not be valid", "zone", u.origin, "client", from, "author", author, "error", err)
		return dnswire.RcodeRefused
	}
	c.log.Error("an update cannot be applied", "zone", u.origin, "error", err)
	return dnswire.RcodeServFail
}

// updater applies one message to a zone's content.
type updater struct {
	origin string
	msg    *dns.Msg // Answer: prerequisites; Ns: updates
	rules  []spec.UpdateRule
}

// summary tells what is asked for, for the history.
func (u *updater) summary() string {
	var words []string
	for _, r := range u.msg.Ns {
		h := r.Header()
		what := "add"
		if h.Class != dns.ClassINET {
			what = "delete"
		}
		typ := dns.Type(h.Rrtype).String()
		if h.Rrtype == dns.TypeANY {
			typ = "all"
		}
		words = append(words, what+" "+dns.CanonicalName(h.Name)+" "+typ)
	}
	words = slices.Compact(words)
	if n := len(words); n > 3 {
		words = append(words[:2], fmt.Sprintf("%d more", n-2))
	}
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, "; ")
}

// notData are types that stand for something else than records (RFC 6895, 3.1), and those that signing makes.
func notData(t uint16) bool {
	return t == 0 || t == dns.TypeOPT || t >= 128 && t <= 255 || t == dns.TypeRRSIG || t == dns.TypeNSEC || t == dns.TypeNSEC3 ||
		t == dns.TypeNSEC3PARAM
}

// prescan checks the form of both sections (RFC 2136, 3.2 and 3.4.1).
func (u *updater) prescan() uint16 {
	if len(u.msg.Question) != 1 {
		return dnswire.RcodeFormErr
	}
	for i, r := range slices.Concat(u.msg.Answer, u.msg.Ns) {
		h := r.Header()
		if !dns.IsSubDomain(u.origin, h.Name) {
			return rcodeNotZone
		}
		prerequisite := i < len(u.msg.Answer)
		empty := h.Rdlength == 0
		ok := false
		switch h.Class {
		case dns.ClassINET:
			ok = !notData(h.Rrtype) && !empty && (h.Ttl == 0 || !prerequisite)
		case dns.ClassANY:
			ok = h.Ttl == 0 && empty && (h.Rrtype == dns.TypeANY || !notData(h.Rrtype))
		case dns.ClassNONE:
			ok = h.Ttl == 0 && (prerequisite && empty && (h.Rrtype == dns.TypeANY || !notData(h.Rrtype)) || !prerequisite && !empty &&
				!notData(h.Rrtype))
		}
		if !ok {
			return dnswire.RcodeFormErr
		}
	}
	return 0
}

// edit gives the zone as it is after the update.
func (u *updater) edit(r *spec.Resource) ([]*spec.Resource, []spec.Key, error) {
	if r == nil {
		return nil, nil, rcodeError(rcodeNotAuth)
	}
	z := *r.Spec.(*spec.Zone)
	c, err := parseContent(u.origin, z.Content)
	if err != nil {
		return nil, nil, err
	}
	if err := u.prerequisites(c); err != nil {
		return nil, nil, err
	}
	for _, rr := range u.msg.Ns {
		if !u.allowed(rr) {
			return nil, nil, rcodeError(dnswire.RcodeRefused)
		}
	}
	for _, rr := range u.msg.Ns {
		u.apply(c, rr)
	}
	if c.changed {
		c.raiseSerial()
	}
	z.Content = c.text()
	return []*spec.Resource{r.With(&z)}, nil, nil
}

// allowed reports whether a rule lets the record be changed.
func (u *updater) allowed(r dns.RR) bool {
	h := r.Header()
	name := dns.CanonicalName(h.Name)
	return slices.ContainsFunc(u.rules, func(rule spec.UpdateRule) bool {
		named := len(rule.Names) == 0 || slices.ContainsFunc(rule.Names, func(n string) bool {
			above, err := spec.CanonicalZone(n)
			return err == nil && spec.Under(name, above)
		})
		if !named {
			return false
		}
		if len(rule.Types) == 0 {
			return h.Rrtype != dns.TypeSOA && (h.Rrtype != dns.TypeNS || name != u.origin)
		}
		if h.Rrtype == dns.TypeANY { // all types at once: see deletable
			return true
		}
		return slices.Contains(rule.Types, dns.Type(h.Rrtype).String())
	})
}

// prerequisites checks what the sender takes for granted (RFC 2136, 3.2).
func (u *updater) prerequisites(c *content) error {
	exact := map[rrKey][]dns.RR{}
	for _, r := range u.msg.Answer {
		h := r.Header()
		k := keyOf(r)
		there := len(c.sets[k]) > 0
		if h.Rrtype == dns.TypeANY {
			there = c.has(k.name)
		}
		switch {
		case h.Class == dns.ClassANY && !there && h.Rrtype == dns.TypeANY:
			return rcodeError(dnswire.RcodeNXDomain)
		case h.Class == dns.ClassANY && !there:
			return rcodeError(rcodeNXRRSet)
		case h.Class == dns.ClassNONE && there && h.Rrtype == dns.TypeANY:
			return rcodeError(rcodeYXDomain)
		case h.Class == dns.ClassNONE && there:
			return rcodeError(rcodeYXRRSet)
		case h.Class == dns.ClassINET:
			exact[k] = append(exact[k], r)
		}
	}
	for k, want := range exact {
		if !sameData(c.sets[k], want) {
			return rcodeError(rcodeNXRRSet)
		}
	}
	return nil
}

// apply makes one change (RFC 2136, 3.4.2).
func (u *updater) apply(c *content, r dns.RR) {
	h, k := r.Header(), keyOf(r)
	apex := k.name == u.origin
	switch {
	case h.Class == dns.ClassINET:
		u.add(c, r, k)
	case h.Class == dns.ClassANY && h.Rrtype == dns.TypeANY:
		for other := range c.sets {
			if other.name == k.name && !(apex && (other.typ == dns.TypeSOA || other.typ == dns.TypeNS)) && u.deletable(other) {
				c.remove(other)
			}
		}
	case apex && (h.Rrtype == dns.TypeSOA || h.Rrtype == dns.TypeNS && (h.Class == dns.ClassANY || len(c.sets[k]) == 1)):
		// the zone keeps them
	case h.Class == dns.ClassANY:
		c.remove(k)
	default:
		c.removeOne(k, r)
	}
}

// deletable reports whether a deletion of all types takes this one: those that the rules name.
func (u *updater) deletable(k rrKey) bool {
	return u.allowed(&dns.ANY{Hdr: dns.RR_Header{Name: k.name, Rrtype: k.typ, Class: dns.ClassANY}})
}

func (u *updater) add(c *content, r dns.RR, k rrKey) {
	if k.typ == dns.TypeSOA {
		soa, had := r.(*dns.SOA), c.soa()
		if k.name == u.origin && had != nil && newer(soa.Serial, had.Serial) {
			c.replace(k, []dns.RR{r})
			c.serialSet = true
		}
		return
	}
	cname := rrKey{name: k.name, typ: dns.TypeCNAME}
	switch {
	case k.typ == dns.TypeCNAME && c.hasBeside(k):
		return // RFC 2136, 3.4.2.2: silently
	case k.typ == dns.TypeCNAME:
		c.replace(k, []dns.RR{r})
	case len(c.sets[cname]) > 0:
		return
	default:
		c.add(k, r)
	}
}
