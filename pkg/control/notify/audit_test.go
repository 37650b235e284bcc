package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/audit"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// TestTheAuditLogIsToldInOrder from when a target is declared on, each entry once it takes it, over failures and restarts; and to none that
// wants events alone.
func TestTheAuditLogIsToldInOrder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	log, err := audit.Open(audit.Config{Dir: dir, ID: "one"})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	write := func(n int) {
		t.Helper()
		for range n {
			if _, err := log.Write(chain.Entry{Act: chain.ActChange, Outcome: chain.Done}); err != nil {
				t.Fatal(err)
			}
		}
	}
	var mu sync.Mutex
	var got []uint64
	var down atomic.Bool
	v := &chain.Verifier{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		text, _ := io.ReadAll(r.Body)
		var b auditBody
		if err := json.Unmarshal(text, &b); err != nil || b.Writer != log.Status().Writer || r.Header.Get("Webhook-Id") == "" {
			t.Errorf("%s, %v", text, err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, line := range b.Audit {
			e, err := chain.Parse(line)
			if err != nil {
				t.Error(err)
			}
			v.Line(line)
			got = append(got, e.Seq)
		}
	}))
	defer web.Close()
	others := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("who wants events is told") }))
	defer others.Close()
	mirror := state.NewMirror()
	declare := func(targets ...spec.EventTarget) {
		head := mirror.Tenant(spec.Platform).Head + 1
		mirror.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: spec.Platform, Head: head, Put: []state.Version{{Generation: head,
			Resource: &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindTenant, Name: spec.Platform},
				Spec: &spec.Tenant{Events: &spec.Events{Targets: targets}}}}}}}})
	}
	siem := spec.EventTarget{Name: "siem", URL: spec.Header{Text: web.URL}, Kinds: []string{spec.AuditKind}}
	start := func() (stop func()) {
		teller, err := NewAuditTeller(AuditConfig{Log: log, Mirror: mirror, Dir: dir, Logger: gtmtest.NewLog(t).Logger(),
			Pace: Pace{First: time.Millisecond, Most: 5 * time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); teller.Run(ctx) }()
		gtmtest.Eventually(t, "it knows the target", func() error {
			teller.mu.Lock()
			defer teller.mu.Unlock()
			if teller.told["siem"] == nil {
				return fmt.Errorf("%d targets", len(teller.told))
			}
			return nil
		})
		return func() { cancel(); <-done }
	}
	told := func(want uint64) {
		t.Helper()
		gtmtest.Eventually(t, fmt.Sprintf("entry %d was told", want), func() error {
			mu.Lock()
			defer mu.Unlock()
			if len(got) == 0 || got[len(got)-1] < want {
				return fmt.Errorf("told of %d entries", len(got))
			}
			return nil
		})
	}
	write(5) // before it is declared
	declare(siem, spec.EventTarget{Name: "chat", URL: spec.Header{Text: others.URL}})
	stop := start()
	write(250)
	told(255)
	down.Store(true)
	write(10)
	stop()
	stop = start()
	write(10)
	down.Store(false)
	told(275)
	stop()
	var want []uint64
	for seq := uint64(6); seq <= 275; seq++ {
		want = append(want, seq)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(got, want) || len(v.Faults()) != 0 {
		t.Errorf("told of %v, %v", got, v.Faults())
	}
}
