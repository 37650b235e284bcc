package transfer

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// memory is a store in memory, for one tenant.
type memory struct {
	mu      sync.Mutex
	states  []state.TenantState
	records []state.Record
	changed chan struct{}
}

func (m *memory) Commit(_ context.Context, c store.Change) (state.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if have := state.Generation(len(m.states)); c.Base != have {
		return state.Record{}, &store.ConflictError{Tenant: c.Tenant, Want: c.Base, Have: have}
	}
	next := state.TenantState{Head: c.Base + 1}
	var put []state.Version
	if c.Base > 0 {
		next.Resources = m.states[c.Base-1].Resources
	}
	for _, r := range c.Put {
		put = append(put, state.Version{Resource: r, Generation: next.Head})
	}
	next.Resources = next.Resources.With(put, c.Delete)
	m.states = append(m.states, next)
	rec := state.Record{Tenant: c.Tenant, Generation: next.Head, Author: c.Author, Message: c.Message}
	m.records = append(m.records, rec)
	close(m.changed)
	m.changed = make(chan struct{})
	return rec, nil
}

func (m *memory) Read(_ context.Context, _ string, at state.Generation) (state.TenantState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.states[at-1], nil
}

func (m *memory) Heads(context.Context) (map[string]state.Generation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.states) == 0 {
		return nil, nil
	}
	return map[string]state.Generation{spec.Platform: state.Generation(len(m.states))}, nil
}

func (m *memory) MadeAt(context.Context, string, state.Generation) (time.Time, error) {
	return time.Time{}, nil
}
func (m *memory) History(context.Context, string, int) ([]state.Record, error) { return nil, nil }

func (m *memory) news() <-chan struct{} { m.mu.Lock(); defer m.mu.Unlock(); return m.changed }

func (m *memory) zone(name string) *spec.Zone {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, _ := m.states[len(m.states)-1].Resources.Get(zoneKey(name))
	return v.Resource.Spec.(*spec.Zone)
}

// desk is a Control with a store.
type desk struct {
	t *testing.T
	c *Control
	m *memory
	w *change.Changer
}

func newDesk(t *testing.T, yaml string) *desk {
	t.Helper()
	m := &memory{changed: make(chan struct{})}
	d := &desk{t: t, m: m, w: change.New(change.Config{Store: m})}
	var err error
	if d.c, err = NewControl(ControlConfig{Changer: d.w, Changed: m.news, Keys: keyring(t), MinRefresh: 20 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}); err != nil {
		t.Fatal(err)
	}
	d.put(yaml)
	return d
}

func (d *desk) put(yaml string) {
	d.t.Helper()
	resources, err := spec.Decode("test.yaml", []byte(yaml))
	if err != nil {
		d.t.Fatal(err)
	}
	plan, err := d.w.Plan(context.Background(), change.Input{Put: resources, Author: "test"})
	if err == nil && !plan.Empty() {
		_, err = d.w.Apply(context.Background(), plan)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

const updateZone = `kind: Zone
tenant: platform
name: gtm.example.
spec:
  update:
    - {key: one, names: [dyn.gtm.example., _acme-challenge.gtm.example.], types: [A, TXT, CNAME, AAAA]}
    - {key: other}
`

const updateContent = `  content: |
    $TTL 300
    @ SOA ns1 hostmaster %d 60 10 86400 60
    @ NS ns1
    @ NS ns2
    ns1 A 192.0.2.53
    ns2 A 192.0.2.54
    a.dyn A 192.0.2.1
    a.dyn A 192.0.2.2
    a.dyn MX 5 ns1
    c.dyn CNAME a.dyn
    w A 192.0.2.9
`

func rrs(t *testing.T, lines ...string) []dns.RR {
	t.Helper()
	var out []dns.RR
	for _, l := range lines {
		r, err := dns.NewRR("$ORIGIN gtm.example.\n" + l)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// send signs an update and gives the RCODE of the answer, whose signature is checked.
func (d *desk) send(m *dns.Msg, key, secret string) int {
	d.t.Helper()
	m.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix())
	wire, mac, err := dns.TsigGenerate(m, secret, "", false)
	if err != nil {
		d.t.Fatal(err)
	}
	reply := d.c.Handle(context.Background(), wire, local)
	if err := dns.TsigVerify(append([]byte(nil), reply...), secret, mac, false); err != nil {
		d.t.Errorf("the answer's signature: %v", err)
	}
	r := new(dns.Msg)
	if err := r.Unpack(reply); err != nil || r.Opcode != dns.OpcodeUpdate || r.Id != m.Id {
		d.t.Fatalf("the answer: %v, %v", r, err)
	}
	return r.Rcode
}

func TestUpdate(t *testing.T) {
	for _, c := range []struct {
		name  string
		key   string // default: one
		do    func(m *dns.Msg)
		rcode int
		gone  []string
		come  []string
	}{
		{name: "add", do: func(m *dns.Msg) { m.Insert(rrs(t, "new.dyn 60 A 192.0.2.3")) },
			come: []string{"new.dyn.gtm.example. 60 IN A 192.0.2.3"}},
		{name: "add what is there", do: func(m *dns.Msg) { m.Insert(rrs(t, "a.dyn 300 A 192.0.2.1")) }},
		{name: "add with another TTL", do: func(m *dns.Msg) { m.Insert(rrs(t, "a.dyn 60 A 192.0.2.3")) },
			gone: []string{"a.dyn.gtm.example. 300 IN A 192.0.2.1", "a.dyn.gtm.example. 300 IN A 192.0.2.2"},
			come: []string{"a.dyn.gtm.example. 60 IN A 192.0.2.1", "a.dyn.gtm.example. 60 IN A 192.0.2.2",
				"a.dyn.gtm.example. 60 IN A 192.0.2.3"}},
		{name: "ACME", do: func(m *dns.Msg) { m.Insert(rrs(t, "_acme-challenge 60 TXT \"token\"")) },
			come: []string{"_acme-challenge.gtm.example. 60 IN TXT \"token\""}},
		{name: "delete one", do: func(m *dns.Msg) { m.Remove(rrs(t, "a.dyn 0 A 192.0.2.2")) },
			gone: []string{"a.dyn.gtm.example. 300 IN A 192.0.2.2"}},
		{name: "delete what is not there", do: func(m *dns.Msg) { m.Remove(rrs(t, "a.dyn 0 A 192.0.2.77")) }},
		{name: "delete a set", do: func(m *dns.Msg) { m.RemoveRRset(rrs(t, "a.dyn 0 A 192.0.2.2")) },
			gone: []string{"a.dyn.gtm.example. 300 IN A 192.0.2.1", "a.dyn.gtm.example. 300 IN A 192.0.2.2"}},
		{name: "delete a name takes what the rule names", do: func(m *dns.Msg) { m.RemoveName(rrs(t, "a.dyn 0 A 192.0.2.2")) },
			gone: []string{"a.dyn.gtm.example. 300 IN A 192.0.2.1", "a.dyn.gtm.example. 300 IN A 192.0.2.2"}},
		{name: "delete a name, all types", key: "other", do: func(m *dns.Msg) { m.RemoveName(rrs(t, "a.dyn 0 A 192.0.2.2")) },
			gone: []string{"a.dyn.gtm.example. 300 IN A 192.0.2.1", "a.dyn.gtm.example. 300 IN A 192.0.2.2",
				"a.dyn.gtm.example. 300 IN MX 5 ns1.gtm.example."}},
		{name: "replace in one message", do: func(m *dns.Msg) {
			m.RemoveRRset(rrs(t, "a.dyn 0 A 192.0.2.2"))
			m.Insert(rrs(t, "a.dyn 60 A 192.0.2.3"))
		}, gone: []string{"a.dyn.gtm.example. 300 IN A 192.0.2.1", "a.dyn.gtm.example. 300 IN A 192.0.2.2"},
			come: []string{"a.dyn.gtm.example. 60 IN A 192.0.2.3"}},
		{name: "a CNAME replaces a CNAME", do: func(m *dns.Msg) { m.Insert(rrs(t, "c.dyn 60 CNAME w")) },
			gone: []string{"c.dyn.gtm.example. 300 IN CNAME a.dyn.gtm.example."},
			come: []string{"c.dyn.gtm.example. 60 IN CNAME w.gtm.example."}},
		{name: "a CNAME beside data is ignored", do: func(m *dns.Msg) { m.Insert(rrs(t, "a.dyn 60 CNAME w")) }},
		{name: "data beside a CNAME are ignored", do: func(m *dns.Msg) { m.Insert(rrs(t, "c.dyn 60 A 192.0.2.3")) }},
		{name: "the apex keeps its last NS and SOA", key: "other", do: func(m *dns.Msg) { m.RemoveName(rrs(t, "@ 0 A 192.0.2.2")) }},
		{name: "another name", do: func(m *dns.Msg) { m.Insert(rrs(t, "w 60 A 192.0.2.3")) }, rcode: dns.RcodeRefused},
		{name: "another type", do: func(m *dns.Msg) { m.Insert(rrs(t, "a.dyn 60 SRV 1 1 1 w")) }, rcode: dns.RcodeRefused},
		{name: "one of two is not allowed", do: func(m *dns.Msg) { m.Insert(rrs(t, "new.dyn 60 A 192.0.2.3", "w 60 A 192.0.2.3")) },
			rcode: dns.RcodeRefused},
		{name: "the apex NS without a rule that names it", key: "other", do: func(m *dns.Msg) { m.Insert(rrs(t, "@ 60 NS w")) },
			rcode: dns.RcodeRefused},
		{name: "no rule for the key", key: "none", do: func(m *dns.Msg) { m.Insert(rrs(t, "new.dyn 60 A 192.0.2.3")) },
			rcode: dns.RcodeRefused},
		{name: "signatures are made here", key: "other", do: func(m *dns.Msg) { m.Insert(rrs(t, "w 60 NSEC a A")) },
			rcode: dns.RcodeFormatError},
		{name: "outside", do: func(m *dns.Msg) { m.Insert(rrs(t, "w.example. 60 A 192.0.2.3")) }, rcode: dns.RcodeNotZone},
		{name: "name in use", do: func(m *dns.Msg) {
			m.NameUsed(rrs(t, "a.dyn 0 A 192.0.2.2"))
			m.Insert(rrs(t, "new.dyn 60 A 192.0.2.3"))
		}, come: []string{"new.dyn.gtm.example. 60 IN A 192.0.2.3"}},
		{name: "name is not in use", do: func(m *dns.Msg) {
			m.NameUsed(rrs(t, "zz.dyn 0 A 192.0.2.2"))
			m.Insert(rrs(t, "new.dyn 60 A 192.0.2.3"))
		}, rcode: dns.RcodeNameError},
		{name: "name is in use, and should not", do: func(m *dns.Msg) { m.NameNotUsed(rrs(t, "a.dyn 0 A 192.0.2.2")) },
			rcode: dns.RcodeYXDomain},
		{name: "set is there, and should not", do: func(m *dns.Msg) { m.RRsetNotUsed(rrs(t, "a.dyn 0 A 192.0.2.2")) },
			rcode: dns.RcodeYXRrset},
		{name: "set is not there", do: func(m *dns.Msg) { m.RRsetUsed(rrs(t, "a.dyn 0 TXT x")) }, rcode: dns.RcodeNXRrset},
		{name: "set is as thought", do: func(m *dns.Msg) {
			m.Used(rrs(t, "a.dyn 0 A 192.0.2.2", "a.dyn 0 A 192.0.2.1"))
			m.Insert(rrs(t, "new.dyn 60 A 192.0.2.3"))
		}, come: []string{"new.dyn.gtm.example. 60 IN A 192.0.2.3"}},
		{name: "set is not as thought", do: func(m *dns.Msg) { m.Used(rrs(t, "a.dyn 0 A 192.0.2.2")) }, rcode: dns.RcodeNXRrset},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, updateZone+fmt.Sprintf(updateContent, 0))
			before := d.m.zone("gtm.example.").Content
			m := new(dns.Msg).SetUpdate("gtm.example.")
			c.do(m)
			key, secret := "one.", oneSecret
			switch c.key {
			case "other":
				key, secret = "other.", otherSecret
			case "none":
				key = "sha."
				d.c.server.cfg.Keys = withKey(t, "sha")
			}
			if rcode := d.send(m, key, secret); rcode != c.rcode {
				t.Errorf("answered %s, want %s", dns.RcodeToString[rcode], dns.RcodeToString[c.rcode])
			}
			gone, come := lineDiff(before, d.m.zone("gtm.example.").Content)
			if gone != strings.Join(c.gone, "\n") || come != strings.Join(c.come, "\n") {
				t.Errorf("gone:\n%s\nwant\n%s\ncome:\n%s\nwant\n%s", gone, strings.Join(c.gone, "\n"), come, strings.Join(c.come, "\n"))
			}
			if changed := gone != "" || come != ""; changed != (len(d.m.states) == 2) {
				t.Errorf("%d generations were made", len(d.m.states)-1)
			}
			if len(d.m.records) == 2 && (d.m.records[1].Author != "key/"+strings.TrimSuffix(key, ".") ||
				!strings.Contains(d.m.records[1].Message, "127.0.0.1")) {
				t.Errorf("the history does not tell who it was: %+v", d.m.records[1])
			}
		})
	}
}

// withKey gives the keys of the tests and one more.
func withKey(t *testing.T, name string) *Keyring {
	t.Helper()
	keys, err := parseKeys(testKeys + "\nkey " + name + " { algorithm hmac-sha256; secret \"" + oneSecret + "\"; };")
	if err != nil {
		t.Fatal(err)
	}
	r := &Keyring{}
	r.keys.Store(&keys)
	return r
}

func lineDiff(before, after string) (gone, come string) {
	lines := func(text string) []string {
		return strings.Split(strings.ReplaceAll(strings.TrimSpace(text), "\t", " "), "\n")
	}
	in := func(list []string) map[string]bool {
		m := map[string]bool{}
		for _, l := range list {
			m[l] = true
		}
		return m
	}
	b, a := lines(before), lines(after)
	var g, c []string
	for _, l := range b {
		if !in(a)[l] {
			g = append(g, l)
		}
	}
	for _, l := range a {
		if !in(b)[l] {
			c = append(c, l)
		}
	}
	return strings.Join(g, "\n"), strings.Join(c, "\n")
}

func TestUpdateRaisesOwnSerial(t *testing.T) {
	d := newDesk(t, updateZone+fmt.Sprintf(updateContent, 41))
	m := new(dns.Msg).SetUpdate("gtm.example.")
	m.Insert(rrs(t, "new.dyn 60 A 192.0.2.3"))
	if rcode := d.send(m, "one.", oneSecret); rcode != 0 ||
		!strings.Contains(d.m.zone("gtm.example.").Content, "hostmaster.gtm.example. 42 ") {
		t.Errorf("%d: %s", rcode, d.m.zone("gtm.example.").Content)
	}
}

// TestUpdateIsBoundByGuards: what only a second person is missing for does not wait, since nobody would know of it.
func TestUpdateIsBoundByGuards(t *testing.T) {
	for guard, want := range map[string]int{
		"{approval: {}}": dns.RcodeRefused,
		"{freeze: [{from: 2020-01-01T00:00:00Z, until: 2120-01-01T00:00:00Z}]}":                dns.RcodeRefused,
		"{mode: observe, freeze: [{from: 2020-01-01T00:00:00Z, until: 2120-01-01T00:00:00Z}]}": dns.RcodeSuccess,
		"{protect: [Zone]}": dns.RcodeSuccess,
	} {
		d := newDesk(t, updateZone+fmt.Sprintf(updateContent, 41)+"---\nkind: Guard\ntenant: platform\nname: g\nspec: "+guard+"\n")
		m := new(dns.Msg).SetUpdate("gtm.example.")
		m.Insert(rrs(t, "new.dyn 60 A 192.0.2.3"))
		rcode := d.send(m, "one.", oneSecret)
		if made := strings.Contains(d.m.zone("gtm.example.").Content, "192.0.2.3"); rcode != want || made != (want == dns.RcodeSuccess) {
			t.Errorf("%s: rcode %d, made: %v", guard, rcode, made)
		}
	}
}

func TestDeclarationWithoutContentKeepsIt(t *testing.T) {
	d := newDesk(t, updateZone+fmt.Sprintf(updateContent, 0))
	before := d.m.zone("gtm.example.").Content
	d.put(updateZone)
	if after := d.m.zone("gtm.example.").Content; after != before {
		t.Errorf("the content became\n%s", after)
	}
}

func TestUpdateNeedsTSIG(t *testing.T) {
	d := newDesk(t, updateZone+fmt.Sprintf(updateContent, 0))
	m := new(dns.Msg).SetUpdate("gtm.example.")
	m.Insert(rrs(t, "new.dyn 60 A 192.0.2.3"))
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	reply := new(dns.Msg)
	if err := reply.Unpack(d.c.Handle(context.Background(), wire, local)); err != nil || reply.Rcode != dns.RcodeRefused ||
		len(d.m.states) != 1 {
		t.Errorf("without TSIG: %v, %v", reply, err)
	}
	m.SetTsig("one.", dns.HmacSHA256, 300, time.Now().Unix())
	if wire, _, err = dns.TsigGenerate(m, otherSecret, "", false); err != nil {
		t.Fatal(err)
	}
	if err := reply.Unpack(d.c.Handle(context.Background(), wire, local)); err != nil || reply.Rcode != dns.RcodeNotAuth ||
		len(d.m.states) != 1 {
		t.Errorf("with a bad signature: %v, %v", reply, err)
	}
}

// TestUpdatePassesThroughEdge sends one by an edge to control over HTTP.
func TestUpdatePassesThroughEdge(t *testing.T) {
	d := newDesk(t, updateZone+fmt.Sprintf(updateContent, 0))
	web := httptest.NewServer(d.c)
	defer web.Close()
	w := newWorld(t)
	w.put(updateZone + fmt.Sprintf(updateContent, 0))
	w.s.cfg.Keys = &Keyring{} // the edge needs no key
	w.s.cfg.Forward = (&Forwarder{URLs: []string{"http://127.0.0.1:1", web.URL}}).Forward
	m := new(dns.Msg).SetUpdate("gtm.example.")
	m.Insert(rrs(t, "new.dyn 60 A 192.0.2.3"))
	m.SetTsig("one.", dns.HmacSHA256, 300, time.Now().Unix())
	wire, mac, err := dns.TsigGenerate(m, oneSecret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	msg := &Message{Buf: buf, N: copy(buf, wire), Source: local}
	if r := w.s.Handle(msg, refuseAll); !r.Deferred {
		t.Fatalf("at once: %+v", r)
	}
	msg.Slow = true
	r := w.s.Handle(msg, refuseAll)
	if err := dns.TsigVerify(buf[:r.Size], oneSecret, mac, false); err != nil || buf[3]&0xF != 0 {
		t.Errorf("the answer: %x, %v", buf[:r.Size], err)
	}
	if !strings.Contains(d.m.zone("gtm.example.").Content, "new.dyn") {
		t.Errorf("the update did not arrive")
	}
	w.s.cfg.Forward = (&Forwarder{URLs: []string{"http://127.0.0.1:1"}}).Forward
	msg.N = copy(buf, wire)
	if r := w.s.Handle(msg, refuseAll); r.Size == 0 || buf[3]&0xF != dns.RcodeServerFailure {
		t.Errorf("without control: %x", buf[:r.Size])
	}
}

// primary serves a world's zone over TCP, and gives the YAML of a zone that copies it.
func primary(w *world, key string) string {
	w.t.Helper()
	return fmt.Sprintf("kind: Zone\ntenant: platform\nname: gtm.example.\nspec: {primaries: [{address: \"%s\"%s}]}\n", w.tcp(), key)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func TestCopyFollowsItsPrimary(t *testing.T) {
	for _, key := range []string{"", ", key: one"} {
		for _, sign := range []bool{false, true} {
			w := newWorld(t)
			w.put(bigZone(600))
			if sign {
				w.sign("gtm.example.")
			}
			frozen := "---\nkind: Guard\ntenant: platform\nname: g\nspec: {freeze: [{from: 2020-01-01T00:00:00Z, " +
				"until: 2120-01-01T00:00:00Z}]}\n"
			d := newDesk(t, primary(w, key)+frozen) // what others changed is copied all the same
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() { d.c.Run(ctx); close(done) }()
			same := func() bool {
				c, err := parseContent("gtm.example.", d.m.zone("gtm.example.").Content)
				if err != nil || c.soa() == nil {
					return false
				}
				var have []dns.RR
				for _, set := range c.sets {
					have = append(have, set...)
				}
				now := w.mustAXFR(w.tcp())
				return sortedTexts(have) == sortedTexts(now[:len(now)-1])
			}
			eventually(t, "the zone is copied", same)
			for i := range 3 {
				w.put(bigZone(600-i, i))
				d.c.wake("gtm.example.")
				eventually(t, "the copy follows", same)
			}
			cancel()
			<-done
		}
	}
}

func TestCopyExpires(t *testing.T) {
	w := newWorld(t)
	w.put(strings.Replace(zoneYAML(anyone), "0 60 10 86400 60", "0 0 0 0 60", 1))
	l, err := net.Listen("tcp", "127.0.0.1:0") // the zone's primary, until it dies
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	alive := true
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			if alive {
				go w.serve(conn)
			} else {
				conn.Close()
			}
			mu.Unlock()
		}
	}()
	defer l.Close()
	set := func(v bool) { mu.Lock(); alive = v; mu.Unlock() }
	d := newDesk(t, fmt.Sprintf("kind: Zone\ntenant: platform\nname: gtm.example.\nspec: {primaries: [{address: \"%s\"}]}\n", l.Addr()))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { d.c.Run(ctx); close(done) }()
	eventually(t, "the zone is copied", func() bool { return d.m.zone("gtm.example.").Content != "" })
	set(false)
	eventually(t, "the zone expires", func() bool { return d.m.zone("gtm.example.").Expired })
	if d.m.zone("gtm.example.").Content == "" {
		t.Errorf("the content is lost")
	}
	set(true)
	eventually(t, "the zone comes back", func() bool { return !d.m.zone("gtm.example.").Expired })
	cancel()
	<-done
}
