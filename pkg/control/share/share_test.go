package share

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/store/pace"
)

// TestWhoHasUsedUpItsShareWaits, and nobody else. What is small counts as Least; what was given back can be taken again.
func TestWhoHasUsedUpItsShareWaits(t *testing.T) {
	now, log, reg := time.Unix(1e9, 0), gtmtest.NewLog(t), prometheus.NewRegistry()
	s, err := New(Config{Metric: "late", Help: "Late.", Late: "it is late", Now: func() time.Time { return now }, Logger: log.Logger(),
		Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	late := func(want string) {
		t.Helper()
		if err := testutil.GatherAndCompare(reg, strings.NewReader("# HELP late Late.\n# TYPE late gauge\nlate "+want+"\n")); err != nil {
			t.Error(err)
		}
	}
	take := func(tenant string) (n int) {
		for s.Take(tenant, 1) == 0 {
			n++
		}
		return n
	}
	if n := take("greedy"); n != pace.TenantBurst/Least {
		t.Errorf("it could write %d times at once", n)
	}
	take("greedy")
	late("1")
	if s.Take("shop", 1) != 0 {
		t.Error("another one waits, too")
	}
	if n := strings.Count(log.String(), "it is late"); n != 1 {
		t.Errorf("told %d times: %s", n, log)
	}
	now = now.Add(s.Take("greedy", 1))
	late("0")
	if s.Take("greedy", 1) != 0 || s.Take("greedy", 1) == 0 {
		t.Error("it waited as long as it was told, and may write once")
	}
	now = now.Add(10 * Least * time.Second / pace.TenantRate)
	if n := take("greedy"); n != 10 {
		t.Errorf("it could write %d times", n)
	}
	s.Pay("greedy", -Least)
	if n := take("greedy"); n != 1 {
		t.Errorf("%d times what was given back", n)
	}
}
