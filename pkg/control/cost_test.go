package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// allocated gives the bytes that f allocates, and the length of the reply.
func (w *world) allocated(t *testing.T, path, body string) (bytes uint64, rec *httptest.ResponseRecorder) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	rec = w.ask(t, "POST", path, body, nil)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, rec
}

// TestAnApplyOfNothingCostsItsLength: 2 MiB of {} made 1.7 GB and a reply of 257 MiB, since every one was unmarshalled three times and had
// faults of its own. What is allocated in all, garbage too, is now a small multiple of the body; so are its siblings.
func TestAnApplyOfNothingCostsItsLength(t *testing.T) {
	many := func(n int, item string) string { return strings.Repeat(item+",", n-1) + item }
	long := strings.Repeat("x", 200_000)
	for name, c := range map[string]struct {
		path, body string
		status     int
		most       uint64 // times the body
	}{
		"resources that are nothing": {"/v1/apply", `{"resources":[` + many(300_000, `{}`) + `]}`, 422, 8},
		"rebuilt":                    {"/v1/store/rebuild", `{"resources":[` + many(300_000, `{}`) + `]}`, 422, 8},
		"resources without names": {"/v1/apply", `{"resources":[` + many(30_000, `{"kind":"","tenant":"","name":"","spec":{}}`) +
			`]}`, 422, 8},
		"parts that are nothing": {"/v1/apply", `{"resources":[{"kind":"Pool","tenant":"shop","name":"a","spec":{"endpoints":[` +
			many(300_000, `{}`) + `]}}]}`, 422, 60},
		"parts that are numbers": {"/v1/apply", `{"resources":[{"kind":"Pool","tenant":"shop","name":"a","spec":{"endpoints":[` +
			many(400_000, `0`) + `]}}]}`, 422, 60},
		"unknown fields":    {"/v1/apply", `{` + many(100_000, `"a":0`) + `}`, 422, 8},
		"what is not there": {"/v1/apply", `{"delete":[` + many(30_000, `{"tenant":"a","kind":"b","name":"c"}`) + `]}`, 422, 50},
		"a name as long as all": {"/v1/apply", `{"resources":[` +
			many(8, `{"kind":"Pool","tenant":"shop","name":"`+long+`","spec":{"a":[],"b":[]}}`) + `]}`, 422, 8},
		"a file as long as all": {"/v1/apply", `{"resources":[` +
			many(8, `{"kind":"Pool","tenant":"shop","name":"a","spec":{"a":0},"origin":{"file":"`+long+`"}}`) + `]}`, 422, 8},
		"weights of nothing": {"/v1/pools/shop/eu/weights", `{"weights":{` + many(90_000, `"a":"x"`) + `}}`, 422, 8},
		"nested too deep":    {"/v1/apply", `{"resources":` + strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000) + `}`, 400, 8},
	} {
		w := newWorld(t)
		got, rec := w.allocated(t, c.path, c.body)
		p := problem(t, rec, c.status)
		if rec.Body.Len() > 256<<10 || len(p.Errors) > spec.MaxErrors {
			t.Errorf("%s: a reply of %d bytes with %d faults", name, rec.Body.Len(), len(p.Errors))
		}
		if got > c.most*uint64(len(c.body))+8<<20 { // a small body costs what a request costs
			t.Errorf("%s: %d bytes were allocated for a body of %d", name, got, len(c.body))
		}
	}
}

// TestACutListSaysSo: a thousand faults of more looked like all of them.
func TestACutListSaysSo(t *testing.T) {
	w := newWorld(t)
	p := problem(t, w.ask(t, "POST", "/v1/apply", `{"resources":[`+strings.Repeat(`{},`, 999)+`{}]}`, nil), http.StatusUnprocessableEntity)
	if len(p.Errors) != spec.MaxErrors || !strings.Contains(p.Detail, "and maybe more") {
		t.Errorf("%d faults: %s", len(p.Errors), p.Detail)
	}
	p = problem(t, w.ask(t, "POST", "/v1/apply", `{"resources":[{}]}`, nil), http.StatusUnprocessableEntity)
	if strings.Contains(p.Detail, "more") {
		t.Errorf("all were told: %s", p.Detail)
	}
}

// TestRequestsAreReadStrictly, although no schema is asked any more.
func TestRequestsAreReadStrictly(t *testing.T) {
	w := newWorld(t)
	for body, want := range map[string]string{
		`[]`:                                    "wants a mapping",
		`{"resource":[]}`:                       "resource: unexpected property",
		`{"resources":{}}`:                      "resources: wants a list",
		`{"resources":[5]}`:                     "resources[0]: wants a mapping",
		`{"resources":[{"kin":"Pool"}]}`:        "resources[0].kin: unexpected property",
		`{"resources":[{"kind":5}]}`:            "resources[0].kind: wants what is a spec.Kind, not a number",
		`{"dryRun":"yes"}`:                      "dryRun: wants what is a bool, not a string",
		`{"delete":[{"tenant":"shop","at":1}]}`: "delete[0].at: unexpected property",
		`{"message":"` + strings.Repeat("x", maxMessage+1) + `"}`:    "message: has more than 4096 bytes",
		`{"resources":[{"kind":"Pool","tenant":"shop","name":"a"}]}`: "spec: is missing",
	} {
		p := problem(t, w.ask(t, "POST", "/v1/apply", body, nil), http.StatusUnprocessableEntity)
		if !strings.Contains(p.Error(), want) {
			t.Errorf("%.60s: %q does not say %q", body, p.Error(), want)
		}
	}
	p := problem(t, w.ask(t, "POST", "/v1/store/rebuild", `{"delete":[]}`, nil), http.StatusUnprocessableEntity)
	if !strings.Contains(p.Error(), "delete: unexpected property") {
		t.Errorf("a rebuild deletes nothing: %q", p.Error())
	}
	too := `{"delete":[` + strings.Repeat(`{},`, maxResources) + `{}]}`
	problem(t, w.ask(t, "POST", "/v1/apply", too, nil), http.StatusRequestEntityTooLarge)
}

// TestWhoHasManyWaitingTakesTurns: one author's queue held up everybody's.
func TestWhoHasManyWaitingTakesTurns(t *testing.T) {
	line := newAdmission(1, 8, 4)
	if err := line.take(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	came := make(chan string)
	wait := func(author string) {
		before := len(line.calls())
		go func() {
			if line.take(context.Background(), author) == nil {
				came <- author
			}
		}()
		for len(line.calls()) == before {
			runtime.Gosched()
		}
	}
	for range 4 {
		wait("a")
	}
	wait("b")
	if err := line.take(t.Context(), "a"); !errors.Is(err, errBusy) {
		t.Errorf("a fifth of one author: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := line.take(ctx, "c"); !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up: %v", err)
	}
	order := ""
	for range 5 {
		line.done()
		order += <-came
	}
	if order != "abaaa" {
		t.Errorf("turns went to %s", order)
	}
	for range 3 {
		wait("d")
		wait("e")
	}
	wait("f")
	wait("g")
	if err := line.take(t.Context(), "h"); !errors.Is(err, errBusy) {
		t.Errorf("a ninth: %v", err)
	}
	for range 8 {
		line.done()
		<-came
	}
	line.done()
	if line.running.now != 0 || line.waiting.now != 0 || len(line.queues) != 0 {
		t.Errorf("left behind: %+v", line)
	}
}

func (t *admission) calls() (all []chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, q := range t.queues {
		all = append(all, q.calls...)
	}
	return all
}

// TestWhoCannotWaitIsToldWhenToComeAgain with 503 and Retry-After, and bodies that are refused hold nothing.
func TestWhoCannotWaitIsToldWhenToComeAgain(t *testing.T) {
	w := newWorld(t)
	w.small = newAdmission(0, 0, 0)
	rec := w.ask(t, "POST", "/v1/apply", `{`+onePool+`}`, nil)
	if p := problem(t, rec, http.StatusServiceUnavailable); rec.Header().Get("Retry-After") != "5" ||
		!strings.Contains(p.Detail, "nothing was changed") {
		t.Errorf("%v: %s", rec.Header(), p.Detail)
	}
	w.small = newAdmission(1, 0, 0)
	w.smallBodies.most = 10
	problem(t, w.ask(t, "POST", "/v1/apply", `{`+onePool+`}`, nil), http.StatusServiceUnavailable)
	w.smallBodies.most = smallBodies
	w.ask(t, "POST", "/v1/apply", `{`+onePool+`}`, &api.ApplyReply{})
	if w.smallBodies.held.Load() != 0 || w.largeBodies.held.Load() != 0 || w.small.running.now != 0 {
		t.Errorf("held: %d and %d bytes, %d turns", w.smallBodies.held.Load(), w.largeBodies.held.Load(), w.small.running.now)
	}
}

// TestBodiesAreReadAsTheyCome: what is announced and does not come holds nothing, and what is large counts apart from what is small.
func TestBodiesAreReadAsTheyCome(t *testing.T) {
	for _, c := range []struct {
		size, announced int64
		limit           int64
		want            error
	}{
		{0, -1, 100, nil}, {100, 100, 100, nil}, {100, -1, 100, nil}, {101, -1, 100, errTooLarge}, {firstBuf, -1, 1 << 20, nil},
		{firstBuf + 1, -1, 1 << 20, nil}, {3 << 20, 3 << 20, 4 << 20, nil}, {3 << 20, -1, 4 << 20, nil},
		{5 << 20, -1, 8 << 20, errOverBudget},
	} {
		small, large := &budget{most: 2 << 20}, &budget{most: 4<<20 + 1}
		in := &inflow{small: small, large: large}
		body, err := in.read(iotest.HalfReader(bytes.NewReader(make([]byte, c.size))), c.limit, c.announced)
		if !errors.Is(err, c.want) || c.want == nil && int64(len(body)) != c.size {
			t.Errorf("%+v: %d bytes, %v", c, len(body), err)
		}
		if held := small.held.Load() + large.held.Load(); c.want == nil && (held < c.size || held > 2*c.size+firstBuf+1) {
			t.Errorf("%+v: holds %d", c, held)
		}
		if c.want == nil && (c.size > maxSmallBody) != (large.held.Load() > 0) {
			t.Errorf("%+v: counts %d among the large", c, large.held.Load())
		}
		in.giveBack()
		if small.held.Load() != 0 || large.held.Load() != 0 {
			t.Errorf("%+v: not given back", c)
		}
	}
	in := &inflow{small: &budget{most: 1 << 20}, large: &budget{most: 1 << 20}}
	if _, err := in.read(iotest.TimeoutReader(bytes.NewReader(make([]byte, 10))), 100<<20, 100<<20); err == nil || in.held > firstBuf {
		t.Errorf("announced alone: %d bytes held, %v", in.held, err)
	}
}

// TestAHistoryOfLargeChangesIsCut: a thousand records, each of thousands of resources, were one answer.
func TestAHistoryOfLargeChangesIsCut(t *testing.T) {
	w := newWorld(t)
	for i := range 40 {
		w.store.records = append(w.store.records, state.Record{Tenant: "shop", Generation: state.Generation(41 - i),
			Put: make([]spec.Key, historyKeys/8)})
	}
	var h api.History
	w.ask(t, "GET", "/v1/history/shop?limit=1000", nil, &h)
	if len(h.Records) != 8 || !h.More || h.Records[0].Generation != 41 {
		t.Errorf("%d records, more: %v", len(h.Records), h.More)
	}
	w.store.records = w.store.records[:8]
	w.ask(t, "GET", "/v1/history/shop?limit=1000", nil, &h)
	h = api.History{}
	w.ask(t, "GET", "/v1/history/shop?limit=8", nil, &h)
	if len(h.Records) != 8 || h.More {
		t.Errorf("all: %d records, more: %v", len(h.Records), h.More)
	}
}

// TestAPlanOfManyFieldsIsCut: a zone whose every line differs was told line by line, whatever that came to.
func TestAPlanOfManyFieldsIsCut(t *testing.T) {
	w := newWorld(t)
	content := func(a string) string {
		var b strings.Builder
		for i := range planFields {
			fmt.Fprintf(&b, "n%d A %s\n", i, a)
		}
		data, err := json.Marshal(b.String())
		if err != nil {
			t.Fatal(err)
		}
		return `{"dryRun": %v, "resources": [{"kind": "Zone", "tenant": "platform", "name": "many.", "spec": {
			"nameservers": ["ns1.example."],
			"contact": "h.example.", "content": ` + string(data) + `}}]}`
	}
	w.ask(t, "POST", "/v1/apply", fmt.Sprintf(content("192.0.2.1"), false), &api.ApplyReply{})
	var reply api.ApplyReply
	w.ask(t, "POST", "/v1/apply", fmt.Sprintf(content("192.0.2.2"), true), &reply)
	if len(reply.Plan) != 1 || len(reply.Plan[0].Fields) != planFields || reply.Plan[0].More != planFields {
		t.Errorf("%d items, %d fields and %d more", len(reply.Plan), len(reply.Plan[0].Fields), reply.Plan[0].More)
	}
}

// TestAListIsWrittenAsItGoes: a client that is gone ends it, and it is whole JSON otherwise.
func TestAListIsWrittenAsItGoes(t *testing.T) {
	w := newWorld(t)
	rec := w.ask(t, "GET", "/v1/resources", nil, &api.ResourceList{})
	if rec.Header().Get("Content-Type") != "application/json" || !json.Valid(rec.Body.Bytes()) {
		t.Errorf("%v: %s", rec.Header(), rec.Body)
	}
	r := httptest.NewRequest("GET", "/v1/resources", nil)
	r.Header.Set("Authorization", "Bearer "+testToken)
	w.Handler().ServeHTTP(&goneWriter{header: http.Header{}}, r)
}

// goneWriter is a client that is gone.
type goneWriter struct{ header http.Header }

func (g *goneWriter) Header() http.Header       { return g.header }
func (g *goneWriter) WriteHeader(int)           {}
func (g *goneWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
