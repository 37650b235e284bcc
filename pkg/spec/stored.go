package spec

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"net/netip"
	"reflect"
	"slices"
	"sync"

	"github.com/gti/gtm/pkg/jsonscan"
)

// Reader reads resources in their stored form, as Resource.MarshalJSON writes it: what DecodeJSON does in the Tolerant mode, but
// faster, without Origin, and with equal parts of several resources in memory once. The zero value is ready. It is for one goroutine.
//
// It reads pools and services by itself, as long as they hold nothing that is seldom. Everything else, faults too, it leaves to
// DecodeJSON: a field that is added to those types is read without a change here.
type Reader struct {
	words   map[string]string
	whens   map[string]*When
	ttls    map[string]*Duration
	weights [maxShared]*int

	in        jsonscan.Scanner
	endpoints []Endpoint
	addrs     []netip.Addr
	rules     []Rule
	targeted  []Target
}

// These bound what is kept of shared parts, so that a store full of different ones does not fill memory with their index.
const (
	maxWords  = 1 << 16
	maxShared = 1 << 12
)

// Decode reads one resource. The error is an Errors.
func (r *Reader) Decode(data []byte) (*Resource, error) {
	if len(data) < maxNodes { // so that there cannot be too many values in it
		r.in.Rest = data
		if res, ok := r.resource(); ok && len(r.in.Rest) == 0 {
			return res, nil
		}
	}
	res, err := DecodeJSON(data, Tolerant)
	if err == nil && res != nil {
		res.Origin = Origin{} // lines of a stored text tell nobody anything
	}
	return res, err
}

// resource reads {"kind","tenant","name","spec"} in this order. Like all that follows it gives false where it does not
// understand, or would have to look closer.
func (r *Reader) resource() (*Resource, bool) {
	kind, ok1 := r.field(`{"kind":`)
	tenant, ok2 := r.field(`,"tenant":`)
	name, ok3 := r.field(`,"name":`)
	if !ok1 || !ok2 || !ok3 || len(tenant) == 0 || len(name) == 0 || !r.in.Literal(`,"spec":`) {
		return nil, false
	}
	res := &Resource{Key: Key{Tenant: r.word(tenant), Name: string(name)}}
	ok := false
	switch string(kind) {
	case string(KindPool):
		p := &Pool{}
		res.Kind, res.Spec, ok = KindPool, p, r.pool(p)
	case string(KindService):
		s := &Service{}
		res.Kind, res.Spec, ok = KindService, s, r.service(s)
	}
	return res, ok && r.in.Literal("}")
}

func (r *Reader) pool(p *Pool) bool {
	return r.in.Object(func(key []byte) (bit int, ok bool) {
		switch string(key) {
		case "site":
			return 1, r.shared(&p.Site)
		case "monitor":
			return 2, r.shared(&p.Monitor)
		case "minHealthy":
			return 4, r.shared(&p.MinHealthy)
		case "endpoints":
			return 8, r.endpointList(&p.Endpoints)
		}
		return 0, false
	})
}

// endpointList reads endpoints into memory of their own: one piece for them, one for all of their addresses.
func (r *Reader) endpointList(to *[]Endpoint) bool {
	r.endpoints, r.addrs = r.endpoints[:0], r.addrs[:0]
	ok := r.in.List(func() bool {
		r.endpoints = append(r.endpoints, Endpoint{})
		return r.endpoint(&r.endpoints[len(r.endpoints)-1])
	})
	addrs := slices.Clone(r.addrs)
	for i := range r.endpoints {
		e := &r.endpoints[i]
		if n := len(e.Addresses); e.Addresses != nil { // so far only its length counts
			e.Addresses, addrs = addrs[:n:n], addrs[n:]
		}
	}
	*to = append(make([]Endpoint, 0, len(r.endpoints)), r.endpoints...)
	return ok
}

func (r *Reader) endpoint(e *Endpoint) bool {
	return r.in.Object(func(key []byte) (bit int, ok bool) {
		switch string(key) {
		case "name":
			return 1, r.shared(&e.Name)
		case "addresses":
			from := len(r.addrs)
			ok := r.in.List(r.addr)
			e.Addresses = r.addrs[from:len(r.addrs):len(r.addrs)]
			return 2, ok && e.Addresses != nil
		case "weight":
			n, ok := r.in.Whole(1<<31 - 1)
			if ok {
				e.Weight = r.weight(n)
			}
			return 4, ok
		case "host":
			return 8, r.own(&e.Host)
		case "probe":
			return 16, r.own(&e.Probe)
		}
		return 0, false
	})
}

func (r *Reader) addr() bool {
	text, ok := r.in.Plain()
	if !ok {
		return false
	}
	a, ok := parseIPv4(text)
	if !ok {
		var err error
		if a, err = netip.ParseAddr(string(text)); err != nil || a.Zone() != "" {
			return false
		}
	}
	r.addrs = append(r.addrs, a)
	return true
}

// parseIPv4 reads four decimal numbers with dots between them.
func parseIPv4(text []byte) (netip.Addr, bool) {
	var a [4]byte
	part, n, digits := 0, 0, 0
	for _, c := range text {
		switch {
		case c == '.':
			if digits == 0 || part == 3 {
				return netip.Addr{}, false
			}
			a[part], n, digits = byte(n), 0, 0
			part++
		case c < '0' || c > '9', digits > 0 && n == 0, n*10+int(c-'0') > 255:
			return netip.Addr{}, false
		default:
			n, digits = n*10+int(c-'0'), digits+1
		}
	}
	if a[3] = byte(n); part != 3 || digits == 0 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4(a), true
}

func (r *Reader) service(s *Service) bool {
	return r.in.Object(func(key []byte) (bit int, ok bool) {
		switch string(key) {
		case "host":
			return 1, r.own(&s.Host)
		case "ttl":
			return 2, r.ttl(&s.TTL)
		case "answers":
			s.Answers, ok = r.in.Whole(1<<31 - 1)
			return 4, ok
		case "pick":
			return 8, r.shared(&s.Pick)
		case "rules":
			return 16, r.ruleList(&s.Rules)
		case "lastResort":
			return 32, r.targets(&s.LastResort, maxSplits)
		case "allDown":
			return 64, r.shared(&s.AllDown)
		case "metrics":
			s.Metrics, ok = r.in.Bool()
			return 128, ok
		case "coherent":
			s.Coherent, ok = r.in.Bool()
			return 256, ok
		case "ecs":
			return 512, r.shared(&s.ECS)
		case "ttlUnsure":
			return 1024, r.ttl(&s.TTLUnsure)
		case "fence":
			return 2048, r.wordList(&s.Fence)
		}
		return 0, false
	})
}

func (r *Reader) ruleList(to *[]Rule) bool {
	r.rules = r.rules[:0]
	ok := r.in.List(func() bool {
		r.rules = append(r.rules, Rule{})
		return r.rule(&r.rules[len(r.rules)-1])
	})
	*to = append(make([]Rule, 0, len(r.rules)), r.rules...)
	return ok
}

func (r *Reader) rule(to *Rule) bool {
	return r.in.Object(func(key []byte) (bit int, ok bool) {
		switch string(key) {
		case "name":
			return 1, r.shared(&to.Name)
		case "when":
			to.When, ok = r.when()
			return 2, ok
		case "pools":
			return 4, r.targets(&to.Pools, maxSplits)
		case "ttl":
			return 8, r.ttl(&to.TTL)
		case "fence":
			return 16, r.wordList(&to.Fence)
		}
		return 0, false
	})
}

// when reads a condition, or finds that an equal one was read before. It ends at the first brace: no list or name of places
// and maps has one, and with one that has it would not be read whole.
func (r *Reader) when() (*When, bool) {
	raw := r.in.Rest[:bytes.IndexByte(r.in.Rest, '}')+1]
	if w := r.whens[string(raw)]; w != nil {
		r.in.Rest = r.in.Rest[len(raw):]
		return w, true
	}
	w, rest := &When{}, len(r.in.Rest)-len(raw)
	ok := r.in.Object(func(key []byte) (bit int, ok bool) {
		switch string(key) {
		case "geo":
			return 1, r.wordList(&w.Geo)
		case "asn":
			return 2, r.numbers(&w.ASN)
		case "map":
			return 4, r.wordList((*[]string)(&w.Map))
		case "resolver":
			return 8, r.wordList((*[]string)(&w.Resolver))
		}
		return 0, false
	})
	if !ok || len(r.in.Rest) != rest {
		return nil, false
	}
	if r.whens == nil {
		r.whens = map[string]*When{}
	}
	if len(r.whens) < maxShared {
		r.whens[string(raw)] = w
	}
	return w, true
}

// maxSplits bounds how deep lists of targets stand in each other that a Reader reads by itself.
const maxSplits = 5

// targets reads a list of targets into memory of its own.
func (r *Reader) targets(to *[]Target, deep int) bool {
	from := len(r.targeted)
	ok := deep > 0 && r.in.List(func() bool {
		var t Target
		ok := r.target(&t, deep-1)
		r.targeted = append(r.targeted, t)
		return ok
	})
	*to = append(make([]Target, 0, len(r.targeted)-from), r.targeted[from:]...)
	r.targeted = r.targeted[:from]
	return ok
}

func (r *Reader) target(t *Target, deep int) bool {
	if len(r.in.Rest) == 0 || r.in.Rest[0] != '{' {
		return r.shared(&t.Pool)
	}
	return r.in.Object(func(key []byte) (bit int, ok bool) {
		switch string(key) {
		case "pool":
			return 1, r.shared(&t.Pool)
		case "weight":
			t.Weight, ok = r.in.Whole(1<<31 - 1)
			return 2, ok
		}
		if t.Steering == nil {
			t.Steering = &Steering{}
		}
		return r.steering(t.Steering, key, deep)
	})
}

// steering reads a field that stands beside pool and weight. An empty word says nothing, so that it may stand alone.
func (r *Reader) steering(s *Steering, key []byte, deep int) (bit int, ok bool) {
	word := func(to *string) bool { return r.shared(to) && *to != "" }
	switch string(key) {
	case "nearest":
		s.Nearest = &Choices{}
		return 4, r.choices(s.Nearest, deep)
	case "policy":
		return 8, word(&s.Policy)
	case "split":
		return 16, r.targets(&s.Split, deep)
	case "band":
		return 32, word(&s.Band)
	case "trickle":
		return 64, word(&s.Trickle)
	case "site":
		return 128, word(&s.Site)
	}
	return 0, false
}

// choices reads a list of targets, or the word sites.
func (r *Reader) choices(c *Choices, deep int) bool {
	if c.Sites = r.in.Literal(`"` + allSites + `"`); c.Sites {
		return true
	}
	return r.targets(&c.List, deep)
}

// reading is to be raised when a stored resource comes to be read differently though no type changes.
const reading = 1

// Schema names what this program reads of a stored resource: it is the same in two programs that read every resource alike.
var Schema = sync.OnceValue(func() string {
	h := fnv.New64a()
	seen := map[reflect.Type]bool{}
	var add func(t reflect.Type)
	add = func(t reflect.Type) {
		fmt.Fprintf(h, "%s %s;", t, t.Kind())
		if seen[t] {
			return
		}
		seen[t] = true
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice:
			add(t.Elem())
		case reflect.Map:
			add(t.Key())
			add(t.Elem())
		case reflect.Struct:
			for i := range t.NumField() {
				f := t.Field(i)
				fmt.Fprintf(h, "%s %q;", f.Name, f.Tag)
				if f.IsExported() {
					add(f.Type)
				}
			}
		}
	}
	for _, k := range Kinds {
		add(reflect.TypeOf(New(k)))
	}
	return fmt.Sprintf("%d-%016x", reading, h.Sum64())
})
