package keys

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

const day = 24 * time.Hour

var began = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

// memory is a store that all managers of a test share; what is written is in its mirror at once.
type memory struct {
	*state.Mirror
	edges []store.Edge
	head  state.Generation
	puts  int
	err   error
	// before, if not nil, is called in front of the next write.
	before func()
}

func (m *memory) Edges(context.Context) ([]store.Edge, error) { return m.edges, m.err }

func (m *memory) PutKeyset(_ context.Context, ks dnssec.Keyset) error {
	return m.write(ks.Zone, ks.Serial-1, state.Update{Values: state.Keysets.Put(ks)})
}

func (m *memory) DeleteKeyset(_ context.Context, zone string, serial uint64) error {
	return m.write(zone, serial, state.Update{Values: state.Keysets.Delete(zone)})
}

func (m *memory) write(zone string, serial uint64, u state.Update) error {
	if m.before != nil {
		before := m.before
		m.before = nil
		before()
	}
	if m.err != nil {
		return m.err
	}
	if m.Keysets()[zone].Serial != serial {
		return store.ErrKeysetChanged
	}
	m.puts++
	m.Apply(u)
	return nil
}

// declare puts zones (nil: deletes).
func (m *memory) declare(zones map[string]*spec.Zone) {
	m.head++
	u := state.TenantUpdate{Tenant: spec.Platform, Head: m.head}
	for _, name := range slices.Sorted(maps.Keys(zones)) {
		key := spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: name}
		if zones[name] == nil {
			u.Deleted = append(u.Deleted, key)
			continue
		}
		u.Put = append(u.Put, state.Version{Resource: &spec.Resource{Key: key, Spec: zones[name]}, Generation: m.head})
	}
	m.Apply(state.Update{Tenants: []state.TenantUpdate{u}})
}

const content = "example.\t3600\tIN\tSOA\tns1.example. h.example. 0 7200 1800 1209600 60\nexample.\t7200\tIN\tNS\tns1.example.net.\n"

func signed() *spec.Zone {
	return &spec.Zone{Content: content, DNSSEC: &spec.DNSSEC{Algorithm: "ed25519"}}
}

// world is a manager with everything around it.
type world struct {
	*Manager
	t        *testing.T
	store    *memory
	now      time.Time
	dir      string
	identity *age.X25519Identity
	registry *prometheus.Registry
	log      *strings.Builder
}

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: began, dir: filepath.Join(t.TempDir(), "keys"), identity: identity(t), store: &memory{Mirror: state.NewMirror()}}
	w.start()
	w.store.declare(map[string]*spec.Zone{"example.": signed(), "plain.": {Content: "plain.\t60\tIN\tSOA\ta. b. 0 1 1 1 1\n"}})
	w.check()
	return w
}

// start makes a manager, anew after a restart.
func (w *world) start() { w.startWith(Config{}) }

func (w *world) startWith(cfg Config) {
	w.t.Helper()
	w.registry, w.log = prometheus.NewRegistry(), &strings.Builder{}
	cfg.Store, cfg.Mirror, cfg.Dir, cfg.Identity = w.store, w.store.Mirror, w.dir, w.identity
	cfg.Registerer, cfg.Now, cfg.Logger = w.registry, func() time.Time { return w.now }, slog.New(slog.NewTextHandler(w.log, nil))
	m, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Manager = m
}

// another is a second control role.
func (w *world) another(dir string, id *age.X25519Identity) *world {
	o := *w
	o.dir, o.identity = dir, id
	o.start()
	return &o
}

func (w *world) check() { w.Manager.check(w.t.Context()) }

// to lets time go on, with a look now and then.
func (w *world) to(after time.Duration) {
	end := began.Add(after)
	for w.now.Before(end) {
		w.now = w.now.Add(min(20*time.Minute, end.Sub(w.now)))
		w.check()
	}
}

func (w *world) keyset(zone string) dnssec.Keyset { return w.store.Keysets()[zone] }

func (w *world) phases() string {
	var parts []string
	for _, k := range w.keyset("example.").State.Keys {
		parts = append(parts, k.Phase())
	}
	return strings.Join(parts, ", ")
}

func (w *world) is(want string) {
	w.t.Helper()
	if got := w.phases(); got != want {
		w.t.Errorf("after %v: %s, want %s", w.now.Sub(began), got, want)
	}
}

func (w *world) status(zone string) api.SignedZone {
	w.t.Helper()
	for _, z := range w.Status() {
		if z.Zone == zone {
			return z
		}
	}
	w.t.Fatalf("no status of %s", zone)
	return api.SignedZone{}
}

// files lists the folder.
func (w *world) files() []string {
	w.t.Helper()
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), keptSuffix) {
			names = append(names, e.Name())
		}
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			w.t.Errorf("%s can be read by others: %v %v", e.Name(), info.Mode(), err)
		}
	}
	return names
}

// verify holds a keyset to what a resolver checks.
func (w *world) verify(ks dnssec.Keyset) {
	w.t.Helper()
	keys := map[uint16]*dns.DNSKEY{}
	for _, set := range ks.Sets {
		var rrs []dns.RR
		for _, d := range set.Data {
			rr := unpack(w.t, ks.Zone, set.Type, set.TTL, d)
			if k, ok := rr.(*dns.DNSKEY); ok {
				keys[k.KeyTag()] = k
			}
			rrs = append(rrs, rr)
		}
		if len(set.Sigs) == 0 {
			w.t.Errorf("%s is not signed", dns.TypeToString[set.Type])
		}
		for _, d := range set.Sigs {
			sig := unpack(w.t, ks.Zone, dns.TypeRRSIG, set.TTL, d).(*dns.RRSIG)
			if err := sig.Verify(keys[sig.KeyTag], rrs); err != nil || !sig.ValidityPeriod(w.now) || keys[sig.KeyTag].Flags != 257 {
				w.t.Errorf("%s by %d: %v (valid %v)", dns.TypeToString[set.Type], sig.KeyTag, err, sig.ValidityPeriod(w.now))
			}
		}
	}
}

func unpack(t *testing.T, owner string, typ uint16, ttl uint32, rdata []byte) dns.RR {
	t.Helper()
	rr, _, err := dns.UnpackRRWithHeader(dns.RR_Header{Name: owner, Rrtype: typ, Class: dns.ClassINET, Ttl: ttl,
		Rdlength: uint16(len(rdata))}, rdata, 0)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

func TestZoneIsSigned(t *testing.T) {
	w := newWorld(t)
	ks := w.keyset("example.")
	if ks.Serial != 1 || len(w.store.Keysets()) != 1 || w.log.String() == "" {
		t.Fatalf("keysets %+v, log %s", w.store.Keysets(), w.log)
	}
	w.verify(ks)
	keys, err := ks.Open(w.identity)
	if err != nil || len(keys) != 1 || keys[0].KSK() {
		t.Fatalf("%v %v", keys, err)
	}
	files := w.files()
	if len(files) != 1 || !strings.HasPrefix(files[0], "Kexample.+015+") {
		t.Fatalf("files %v", files)
	}
	text, err := os.ReadFile(filepath.Join(w.dir, files[0]))
	if err != nil {
		t.Fatal(err)
	}
	_, secret, _ := strings.Cut(string(text), "PrivateKey: ")
	secret, _, _ = strings.Cut(secret, "\n")
	stored, err := json.Marshal(ks)
	if err != nil || len(secret) < 40 || strings.Contains(string(stored), secret) || strings.Contains(w.log.String(), secret) {
		t.Errorf("the private key %q is in the store or the log (%v)", secret, err)
	}
	if z := w.status("example."); z.State != api.ZoneSigned || !z.NextAt.Equal(began.Add(3*time.Hour)) || len(z.DS) != 0 {
		t.Errorf("status %+v", z) // 7200 s and 1 h
	}
	before := w.store.puts
	w.to(2 * time.Hour)
	if w.store.puts != before {
		t.Error("something was written though nothing was due")
	}
}

func TestLivesOn(t *testing.T) {
	w := newWorld(t)
	w.to(4 * time.Hour)
	w.is("waits for its DS, active")
	z := w.status("example.")
	if z.State != api.ZoneWaiting || len(z.DS) != 1 {
		t.Fatalf("status %+v", z)
	}
	ds, err := dns.NewRR(z.DS[0])
	key := unpack(t, "example.", dns.TypeDNSKEY, 3600, w.keyset("example.").State.Keys[0].Public).(*dns.DNSKEY)
	if err != nil || ds.(*dns.DS).Digest != strings.ToUpper(key.ToDS(dns.SHA256).Digest) || ds.(*dns.DS).KeyTag != key.KeyTag() {
		t.Errorf("DS %v, want %v (%v)", ds, key.ToDS(dns.SHA256), err)
	}
	if err := w.DSSeen(t.Context(), "example."); err != nil {
		t.Fatal(err)
	}
	w.is("active, active")
	w.start() // again, with what is in the folder and the store
	w.to(29*day + 12*time.Hour)
	w.is("active, active, published")
	w.verify(w.keyset("example."))
	w.to(30*day + time.Hour)
	w.is("active, retired, active")
	ks := w.keyset("example.")
	if keys, err := ks.Open(w.identity); err != nil || len(keys) != 1 || ks.ZSKs[0].Sealed != nil {
		t.Errorf("%v %v, the old key is still sealed: %v", keys, err, ks.ZSKs[0].Sealed != nil)
	}
	w.to(31 * day)
	w.is("active, active")
	w.verify(w.keyset("example."))
}

func TestKSKRoll(t *testing.T) {
	w := newWorld(t)
	w.to(4 * time.Hour)
	var refused *RefusedError
	old := w.files()
	if err := errors.Join(w.DSSeen(t.Context(), "example."), w.Roll(t.Context(), "example.", true)); err != nil {
		t.Fatal(err)
	}
	if err := w.Roll(t.Context(), "example.", true); !errors.As(err, &refused) {
		t.Errorf("a second roll: %v", err)
	}
	w.to(8 * time.Hour)
	w.is("active, waits for its DS, active")
	if n := len(w.files()); n != 2 {
		t.Errorf("%d files", n)
	}
	w.verify(w.keyset("example."))
	if err := w.DSSeen(t.Context(), "example."); err != nil {
		t.Fatal(err)
	}
	w.to(8*time.Hour + 50*time.Hour)
	w.is("active, active")
	if files := w.files(); len(files) != 1 || files[0] == old[0] {
		t.Errorf("files %v, before %v", files, old)
	}
	w.verify(w.keyset("example."))
}

func TestManyManagers(t *testing.T) {
	w := newWorld(t)
	twin := w.another(w.dir, w.identity)
	twin.check()
	if ks := w.keyset("example."); ks.Serial != 1 {
		t.Errorf("serial %d: both wrote", ks.Serial)
	}
	// Both find a new zone; the twin is first.
	w.store.before = twin.check
	w.store.declare(map[string]*spec.Zone{"new.": signed()})
	w.check()
	ks := w.keyset("new.")
	if ks.Serial != 1 || w.status("new.").Error != "" {
		t.Errorf("serial %d, status %+v", ks.Serial, w.status("new."))
	}
	w.verify(ks)
	if n := len(w.files()); n != 2 {
		t.Errorf("%d files for two key-signing keys", n)
	}
	for _, each := range []*world{w, twin} {
		each.now = began.Add(4 * time.Hour)
		each.check()
	}
	for _, zone := range []string{"example.", "new."} {
		w.verify(w.keyset(zone))
		if s := w.keyset(zone).Serial; s != 2 {
			t.Errorf("%s has serial %d", zone, s)
		}
	}
}

func TestManagerWithoutTheKeys(t *testing.T) {
	w := newWorld(t)
	other := w.another(filepath.Join(t.TempDir(), "other"), w.identity)
	other.now = began.Add(4 * time.Hour)
	other.check()
	if z := other.status("example."); z.State != api.ZoneFailing || !strings.Contains(z.Error, other.dir) ||
		w.keyset("example.").Serial != 1 {
		t.Errorf("status %+v", z)
	}
	told := strings.Count(other.log.String(), "level=ERROR")
	other.now = other.now.Add(time.Minute)
	other.check()
	if told != 1 || strings.Count(other.log.String(), "level=ERROR") != 1 {
		t.Errorf("a lasting failure is told of more than once: %s", other.log)
	}
	w.to(4 * time.Hour) // who has them goes on
	other.now = other.now.Add(time.Minute)
	other.check()
	if z := other.status("example."); z.State != api.ZoneWaiting || z.Error != "" {
		t.Errorf("status %+v", z)
	}
	if err := w.folder.remove("example.", goneKSKs(w.keyset("example.").State, dnssec.State{})); err != nil {
		t.Fatal(err)
	}
	if err := w.Roll(t.Context(), "example.", false); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("a roll without the key: %v", err)
	}
}

func TestUnsign(t *testing.T) {
	w := newWorld(t)
	w.to(4 * time.Hour)
	if err := w.DSSeen(t.Context(), "example."); err != nil {
		t.Fatal(err)
	}
	w.store.declare(map[string]*spec.Zone{"example.": {Content: content}})
	w.to(5 * time.Hour)
	if z := w.status("example."); z.State != api.ZoneWithdrawing || len(z.DS) != 0 {
		t.Errorf("status %+v", z)
	}
	w.verify(w.keyset("example."))
	if err := w.DSGone(t.Context(), "example."); err != nil {
		t.Fatal(err)
	}
	w.to(4 * day)
	if len(w.store.Keysets()) != 0 || len(w.files()) != 0 || len(w.Status()) != 0 {
		t.Errorf("keysets %v, files %v, status %v", w.store.Keysets(), w.files(), w.Status())
	}
}

func TestUndeclaredZoneKeepsItsKeys(t *testing.T) {
	w := newWorld(t)
	w.store.declare(map[string]*spec.Zone{"example.": nil})
	w.to(3 * day)
	if z := w.status("example."); z.State != api.ZoneUndeclared || w.keyset("example.").Serial != 1 {
		t.Errorf("status %+v", z)
	}
	if err := w.Roll(t.Context(), "example.", false); !errors.Is(err, errUndeclared) {
		t.Errorf("a roll: %v", err)
	}
	if err := w.DSGone(t.Context(), "example."); err != nil {
		t.Fatal(err)
	}
	if len(w.store.Keysets()) != 0 || len(w.files()) != 0 {
		t.Errorf("keysets %v, files %v", w.store.Keysets(), w.files())
	}
	if err := w.DSGone(t.Context(), "example."); !errors.Is(err, errUnsigned) {
		t.Errorf("once more: %v", err)
	}
}

func TestUnknownAlgorithmIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.store.declare(map[string]*spec.Zone{"example.": {Content: content, DNSSEC: &spec.DNSSEC{Algorithm: "falcon"}}})
	w.to(8 * day)
	if s := w.keyset("example.").Serial; s != 1 {
		t.Errorf("serial %d", s)
	}
	if err := w.DSGone(t.Context(), "example."); !errors.Is(err, errUnknown) {
		t.Errorf("error %v", err)
	}
}

func TestStoreThatFails(t *testing.T) {
	w := newWorld(t)
	w.store.err = errors.New("etcd is away")
	w.to(4 * time.Hour)
	if z := w.status("example."); z.State != api.ZoneFailing || !strings.Contains(z.Error, "etcd is away") {
		t.Errorf("status %+v", z)
	}
	if families, err := w.registry.Gather(); err != nil || len(families) != 3 {
		t.Errorf("%d metrics, %v", len(families), err)
	}
	w.store.err = nil
	w.to(5 * time.Hour)
	w.is("waits for its DS, active")
}

// What is asked for goes over the newest keyset, also where another was faster.
func TestAskedForAgain(t *testing.T) {
	w := newWorld(t)
	twin := w.another(w.dir, w.identity)
	w.now, twin.now = began.Add(4*time.Hour), began.Add(4*time.Hour)
	w.store.before = twin.check
	if err := w.Roll(t.Context(), "example.", false); err != nil {
		t.Fatal(err)
	}
	w.is("waits for its DS, active, published")
	if s := w.keyset("example.").Serial; s != 3 {
		t.Errorf("serial %d", s)
	}
}

func TestTTLsOfServicesCount(t *testing.T) {
	for _, host := range []string{"www.shop.Example", "*.shop.Example"} {
		testTTLsOfServices(t, host)
	}
}

func testTTLsOfServices(t *testing.T, host string) {
	w := newWorld(t)
	ttl, rules := spec.Duration(10*time.Hour), spec.Duration(11*time.Hour)
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 1,
		Put: []state.Version{{Generation: 1, Resource: &spec.Resource{
			Key:  spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "web"},
			Spec: &spec.Service{Host: host, TTL: &ttl, Rules: []spec.Rule{{TTL: &rules}, {}}}}}}}}})
	w.check()
	if got := w.keyset("example.").State.MaxTTL.High; got != 11*time.Hour {
		t.Errorf("%s: the longest TTL is %v", host, got)
	}
}

// TestTTLsOfAliasesCount: an alias takes its answers, and their TTL, from a service that may stand in another zone, and aliases of zones
// have TTLs of their own. Neither was counted, so a key could go while what it had signed was still in caches.
func TestTTLsOfAliasesCount(t *testing.T) {
	hours := func(n int) *spec.Duration { d := spec.Duration(time.Duration(n) * time.Hour); return &d }
	for _, c := range []struct {
		name    string
		service *spec.Service    // of a tenant
		aliases []spec.ZoneAlias // of the zone
		want    time.Duration
	}{
		{"of the zone", nil, []spec.ZoneAlias{{Name: "www", To: "a.outside.", TTL: hours(9)}}, 9 * time.Hour},
		{"of the zone, to a service", nil, []spec.ZoneAlias{{Name: "www", To: "WEB.plain"}}, 12 * time.Hour},
		{"of the zone, bounded", nil, []spec.ZoneAlias{{Name: "www", To: "web.plain.", TTL: hours(9)}}, 9 * time.Hour},
		{"a service", &spec.Service{Host: "x.Example", Alias: &spec.Alias{To: "web.plain"}}, nil, 12 * time.Hour},
		{"a service, bounded", &spec.Service{Host: "x.example", TTL: hours(9), Alias: &spec.Alias{To: "web.plain"}}, nil, 9 * time.Hour},
	} {
		w := newWorld(t)
		z := *signed()
		z.Aliases = c.aliases
		web := &spec.Service{Host: "web.plain.", Rules: []spec.Rule{{TTL: hours(12)}}}
		put := []state.Version{{Generation: 1, Resource: &spec.Resource{
			Key: spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "web"}, Spec: web}}}
		if c.service != nil {
			put = append(put, state.Version{Generation: 1, Resource: &spec.Resource{
				Key: spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "x"}, Spec: c.service}})
		}
		w.store.declare(map[string]*spec.Zone{"example.": &z, "plain.": {Content: "plain.\t60\tIN\tSOA\ta. b. 0 1 1 1 1\n"}})
		w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 1, Put: put}}})
		w.check()
		if got := w.keyset("example.").State.MaxTTL.High; got != c.want {
			t.Errorf("%s: the longest TTL is %v, want %v", c.name, got, c.want)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
