package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gti/gtm/pkg/control"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/audit"
	"github.com/gti/gtm/pkg/control/events"
	"github.com/gti/gtm/pkg/control/identity"
	zonekeys "github.com/gti/gtm/pkg/control/keys"
	"github.com/gti/gtm/pkg/control/past"
	"github.com/gti/gtm/pkg/control/signals"
	"github.com/gti/gtm/pkg/gtmtest/etcds"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/link"
	"github.com/gti/gtm/pkg/store/state"
)

// TestMain makes this binary be gtmctl for the scripts, and etcd for their server.
func TestMain(m *testing.M) {
	etcds.Main()
	testscript.Main(m, map[string]func(){"gtmctl": main})
}

// TestScripts runs each script against a control of its own, with a store of its own in one etcd.
func TestScripts(t *testing.T) {
	at := etcds.Start(t)
	t.Run("all", func(t *testing.T) { // ends when the last script does, although they run beside each other
		testscript.Run(t, testscript.Params{
			Dir:                 "testdata/script",
			RequireExplicitExec: true,
			Setup:               func(env *testscript.Env) error { return setup(env, at) },
			Cmds: map[string]func(*testscript.TestScript, bool, []string){
				"edge": edgeCmd, "stop": stopCmd, "broken": brokenCmd, "verdict": verdictCmd, "evidence": evidenceCmd, "prober": proberCmd,
				"stranger": strangerCmd, "exits": exitsCmd, "later": laterCmd, "judge": judgeCmd, "pulse": pulseCmd,
				"room": roomCmd, "clock": clockCmd, "rolls": rollsCmd, "pendingid": pendingCmd,
			},
		})
	})
}

// server is what one script talks to.
type server struct {
	ctx    context.Context
	store  *store.Client
	mirror *state.Mirror
	past   *past.Past
	events *events.Recorder
	works  sync.Mutex // of events
	dir    string
	broken chan []api.Broken         // holds what every edge says is broken
	edges  map[string]func(all bool) // ends an edge: its lease, or all of it
	pulses state.Evidence
	ahead  atomic.Int64 // of the clock by which keys live
	room   atomic.Pointer[link.Space]
}

type serverKey struct{}

func setup(env *testscript.Env, etcd string) error {
	ctx, cancel := context.WithCancel(context.Background())
	env.Defer(cancel)
	client, err := store.Open(ctx, store.Config{Endpoints: []string{etcd}, Prefix: "/" + filepath.Base(env.WorkDir) + "/"})
	if err != nil {
		return err
	}
	env.Defer(func() { client.Close() })
	s := &server{ctx: ctx, store: client, mirror: state.NewMirror(), dir: env.WorkDir,
		broken: make(chan []api.Broken, 1), edges: map[string]func(bool){}}
	log := events.Open(events.Config{Dir: filepath.Join(env.WorkDir, "events")})
	s.events, err = events.NewRecorder(events.RecorderConfig{Log: log, Mirror: s.mirror, Sights: client.Sights})
	if err != nil {
		return err
	}
	s.past = past.New(past.Config{Store: client, Mirror: s.mirror, Keep: time.Hour, Replaced: s.events.Heard})
	s.broken <- nil
	s.room.Store(&link.Space{})
	env.Values[serverKey{}] = s
	followed, following := make(chan struct{}), make(chan state.FollowStatus, 1)
	following <- state.FollowStatus{State: state.Connecting}
	go func() {
		defer close(followed)
		_ = client.Follow(ctx, store.FollowConfig{
			OnUpdate: func(u state.Update) error { s.past.Apply(u); return nil },
			OnStatus: func(f state.FollowStatus) { <-following; following <- f },
		})
	}()
	env.Defer(func() { cancel(); <-followed })
	token, err := identity.CreateToken(filepath.Join(env.WorkDir, "token"))
	if err != nil {
		return err
	}
	group, err := zonekeys.LoadIdentity(filepath.Join(env.WorkDir, "identity"))
	if err != nil {
		return err
	}
	signer, err := zonekeys.New(zonekeys.Config{Store: client, Mirror: s.mirror, Dir: filepath.Join(env.WorkDir, "keys"),
		Identity: group, Now: func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }})
	if err != nil {
		return err
	}
	signed := make(chan struct{})
	go func() {
		defer close(signed)
		_ = signer.Run(ctx)
	}()
	env.Defer(func() { cancel(); <-signed })
	intake, err := signals.New(signals.Config{Store: client, Mirror: s.mirror, Current: func() bool { return true }})
	if err != nil {
		return err
	}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		_ = intake.Run(ctx)
	}()
	env.Defer(func() { cancel(); <-heard })
	acts, err := audit.Open(audit.Config{Dir: filepath.Join(env.WorkDir, "audit"), ID: "one"})
	if err != nil {
		return err
	}
	env.Defer(func() { acts.Close() })
	tokens := identity.NewTokens(client.Tokens(), slog.New(slog.DiscardHandler), time.Now)
	known := make(chan struct{})
	go func() {
		defer close(known)
		_ = tokens.Run(ctx)
	}()
	env.Defer(func() { cancel(); <-known })
	book := identity.NewBook(identity.Config{Token: func() string { return token }, Mirror: s.mirror, Tokens: tokens, Now: time.Now})
	c, err := control.New(control.Config{
		Audit: acts,
		Store: client, Mirror: s.mirror, Past: s.past, Signals: intake,
		Events: control.Events{Log: log}, Keys: signer, Identities: book, Logger: slog.New(slog.DiscardHandler),
		Evidence: &s.pulses, EdgeNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Space:     func() link.Space { return *s.room.Load() },
		Following: func() state.FollowStatus { f := <-following; following <- f; return f },
	})
	if err != nil {
		return err
	}
	web := httptest.NewServer(c.Handler())
	env.Defer(web.Close)
	driven, err := s.drive(ctx, c)
	if err != nil {
		return err
	}
	env.Defer(func() { cancel(); driven() })
	env.Setenv("GTM_SERVER", web.URL)
	env.Setenv("GTM_TOKEN_FILE", filepath.Join(env.WorkDir, "token"))
	env.Setenv("GTM_CONFIG", filepath.Join(env.WorkDir, "config"))
	env.Setenv("TZ", "UTC")
	return nil
}

// edgeCmd: "edge ID [TENANT@GENERATION...]" registers an edge that says it answers from these, or else from every head; it
// explains with explain.json of the script.
func edgeCmd(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(serverKey{}).(*server)
	if neg || len(args) == 0 {
		ts.Fatalf("usage: edge ID [TENANT@GENERATION...]")
	}
	fixed := map[string]uint64{}
	for _, word := range args[1:] {
		tenant, generation, _, err := parseState(word)
		ts.Check(err)
		fixed[tenant] = generation
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /edge/status", func(w http.ResponseWriter, _ *http.Request) {
		tenants := fixed
		if len(fixed) == 0 {
			tenants = map[string]uint64{}
			for _, name := range s.mirror.Tenants() {
				tenants[name] = uint64(s.mirror.Tenant(name).Head)
			}
		}
		broken := <-s.broken
		s.broken <- broken
		_ = json.NewEncoder(w).Encode(api.EdgeStatus{ID: args[0], Broken: broken, Version: "v1", DNS: []string{"127.0.0.1:5300"},
			Tenants: tenants, View: api.View{Serial: 2, Published: time.Now()}, Source: api.Source{State: "current", Since: time.Now()}})
	})
	mux.HandleFunc("GET /edge/explain", func(w http.ResponseWriter, r *http.Request) {
		text, err := os.ReadFile(filepath.Join(s.dir, "explain.json"))
		if err != nil || r.URL.Query().Get("host") != "web.shop.gtm.example" {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"edge": "`+args[0]+`", "error": "no steered name here; did you mean web.shop.gtm.example.?"}`)
			return
		}
		var x api.Explanation
		ts.Check(json.Unmarshal(text, &x))
		x.Edge = args[0] // it speaks for itself
		_ = json.NewEncoder(w).Encode(x)
	})
	web := httptest.NewServer(mux)
	ts.Defer(web.Close)
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(s.ctx)
	go func() {
		defer close(done)
		self := store.Edge{ID: args[0], HTTP: strings.TrimPrefix(web.URL, "http://"), Version: "v1",
			Started: time.Now(), Tenants: map[string]state.Generation{"shop": 1}}
		_ = s.store.KeepEdge(ctx, func() store.Edge { return self }, 10*time.Second)
	}()
	stop := func(all bool) {
		cancel()
		<-done
		if all {
			web.Close()
		}
	}
	s.edges[args[0]] = stop
	ts.Defer(func() { stop(false) })
	for { // until it is registered; the test's own time limit ends this
		edges, err := s.store.Edges(s.ctx)
		ts.Check(err)
		for _, e := range edges {
			if e.ID == args[0] && e.Alive && !e.Seen.IsZero() {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// stopCmd: "stop ID" ends an edge; "stop -lease ID" lets it answer on.
func stopCmd(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value(serverKey{}).(*server)
	s.edges[args[len(args)-1]](args[0] != "-lease")
}

// brokenCmd: "broken [RESOURCE SERVES ERROR]" lets every edge say so, or that nothing is.
func brokenCmd(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value(serverKey{}).(*server)
	<-s.broken
	if len(args) == 0 {
		s.broken <- nil
		return
	}
	s.broken <- []api.Broken{{Resource: args[0], Serves: args[1], Error: args[2]}}
}

// evidenceCmd: "evidence VANTAGE TENANT/POOL[/ENDPOINT]..." leaves observations of a prober, which sees the endpoint down.
func evidenceCmd(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value(serverKey{}).(*server)
	for _, word := range args[1:] {
		name, err := parsePool(word, true)
		ts.Check(err)
		o := health.Observation{Vantage: args[0], Pool: health.PoolID{Tenant: name.tenant, Pool: name.pool}}
		if name.endpoint != "" {
			o.Endpoints = map[string]health.Sight{name.endpoint: {State: health.Down, Reason: "connect: connection refused"}}
		}
		ts.Check(s.store.PutObservation(s.ctx, o))
	}
}

// roomCmd: "room MIB OF [full]" lets etcd have used so much of its quota.
func roomCmd(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	quota, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Value(serverKey{}).(*server).room.Store(&link.Space{Size: size << 20, InUse: 1 << 20, Quota: quota << 20, Full: len(args) > 2})
}

// pulseCmd: "pulse JUDGE AGO [silent=VANTAGE] [TROUBLE]" lets the judge have been heard so long ago.
func pulseCmd(ts *testscript.TestScript, _ bool, args []string) {
	ago, err := time.ParseDuration(args[1])
	ts.Check(err)
	pulse := state.Pulse{Judge: args[0], Nonce: time.Now().String(), Troubles: args[2:]}
	if len(args) > 2 && strings.HasPrefix(args[2], "silent=") {
		pulse.Silent, pulse.Troubles = []string{strings.TrimPrefix(args[2], "silent=")}, args[3:]
	}
	ts.Value(serverKey{}).(*server).pulses.Heard(pulse, time.Now().Add(-ago))
}

// proberCmd: "prober VANTAGE [REGION NETWORK]" lets a prober be alive.
func proberCmd(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value(serverKey{}).(*server)
	v := store.Vantage{ID: args[0]}
	if len(args) > 1 {
		v.Region, v.Network = args[1], args[2]
	}
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(s.ctx)
	go func() {
		defer close(done)
		_ = s.store.KeepVantage(ctx, v, 10*time.Second)
	}()
	ts.Defer(func() { cancel(); <-done })
	for { // until it is known; the test's own time limit ends this
		all, err := s.store.Vantages(s.ctx)
		ts.Check(err)
		for _, v := range all {
			if v.ID == args[0] && v.Alive {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// exitsCmd: "exits CODE PROGRAM ARGUMENT..." runs a program that ends so.
func exitsCmd(ts *testscript.TestScript, neg bool, args []string) {
	code := 0
	var ended *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &ended) {
		code = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if neg || strconv.Itoa(code) != args[0] {
		ts.Fatalf("%s ended with %d, want %s", strings.Join(args[1:], " "), code, args[0])
	}
}

// pendingCmd puts the name of the one change of a tenant that waits into PENDING.
func pendingCmd(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value(serverKey{}).(*server)
	list, err := s.store.Pendings(s.ctx, args[0])
	ts.Check(err)
	if len(list) != 1 {
		ts.Fatalf("%d changes of %s wait", len(list), args[0])
	}
	ts.Setenv("PENDING", list[0].ID)
}

// verdictCmd: "verdict TENANT/POOL ENDPOINT=STATE... [out=enforced] [vantages=ams,fra]" lets the pool be judged so; held is what the brake
// makes of down, out is kept out, or observed to be, and vantages stand in the region.
func verdictCmd(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value(serverKey{}).(*server)
	tenant, pool, _ := strings.Cut(args[0], "/")
	v := health.Verdict{Pool: health.PoolID{Tenant: tenant, Pool: pool}, Judge: "prober-1",
		Endpoints: map[string]health.Finding{}}
	for _, word := range args[1:] {
		endpoint, state, _ := strings.Cut(word, "=")
		if endpoint == "vantages" {
			v.Vantages = strings.Split(state, ",")
			continue
		}
		if endpoint == "out" {
			v.Out = &health.Out{Since: time.Now().Add(-time.Hour), Why: "0 of 2 endpoints up, 1 needed", Observed: state == "observed"}
			continue
		}
		finding := health.Finding{State: health.State(state), Score: 1, Since: time.Now().Add(-3 * time.Minute)}
		if finding.State == health.Down {
			finding.Score, finding.Reason = 0, "status 503"
		}
		if state == "held" {
			finding.State, finding.Reason, v.Frozen = health.Up, "held by the brake: status 503", true
			v.Cause = "5 of 6 endpoints that were up failed within 1m, and no other pool of rule europe of service web is known up"
		}
		v.Endpoints[endpoint] = finding
	}
	s.past.Apply(state.Update{Values: state.Verdicts.Put(v)})
	s.works.Lock()
	defer s.works.Unlock()
	s.events.Work(s.ctx)
}

// clockCmd: "clock NAME" sets a variable to the time.
func clockCmd(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], time.Now().UTC().Format(time.RFC3339Nano))
}

// judgeCmd: "judge TENANT/POOL ENDPOINT=STATE..." follows the next release of the pool or its tenant, by judging the pool so.
func judgeCmd(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value(serverKey{}).(*server)
	name, err := parsePool(args[0], false)
	ts.Check(err)
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(s.ctx)
	ts.Defer(func() { cancel(); <-done })
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for _, word := range []store.Release{{Pool: name.pool}, {}, {Pool: name.pool, Resume: true}} {
				word.Tenant = name.tenant
				if waits, err := s.store.HasRelease(ctx, word); err == nil && waits {
					verdictCmd(ts, false, args)
					_ = s.store.WithdrawRelease(ctx, word)
					return
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
}

// laterCmd: "later DURATION ZONE PHASE..." lets the keys live for so long, and waits until the zone's keys are in these phases.
func laterCmd(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(serverKey{}).(*server)
	if neg || len(args) < 2 {
		ts.Fatalf("usage: later DURATION ZONE PHASE...")
	}
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	s.ahead.Add(int64(d))
	for { // the test's own time limit ends this
		var phases []string
		for _, k := range s.mirror.Keysets()[args[1]].State.Keys {
			phases = append(phases, k.Phase())
		}
		if slices.Equal(phases, args[2:]) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// strangerCmd lets GTM_SERVER be an HTTP server that is not gtmd.
func strangerCmd(ts *testscript.TestScript, _ bool, _ []string) {
	web := httptest.NewServer(http.NotFoundHandler())
	ts.Defer(web.Close)
	ts.Setenv("GTM_SERVER", web.URL)
}
