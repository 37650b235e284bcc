// Package share has each tenant stay within its share of what control writes to the store of lists of endpoints.
package share

import (
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/store/pace"
)

const (
	// Least is what a write counts at least, in bytes: whoever follows a list plans all of its tenant anew where it changes.
	Least = 4 << 10
	// tidyEvery is how often those who write no more leave their share to others.
	tidyEvery = 30 * time.Second
)

// Config says of what there are shares.
type Config struct {
	// Metric is the gauge of the tenants that are late, and Late what the log says of each of them, once.
	Metric, Help string
	Late         string
	Now          func() time.Time
	Logger       *slog.Logger
	Registerer   prometheus.Registerer // nil: no metric
}

// Shares are those of all tenants. They are safe for concurrent use.
type Shares struct {
	cfg Config

	mu     sync.Mutex
	budget *pace.Budget
	late   map[string]bool
	tidied time.Time
}

// New makes shares of which nothing is used.
func New(cfg Config) (*Shares, error) {
	s := &Shares{cfg: cfg, budget: pace.New(), late: map[string]bool{}}
	if cfg.Registerer == nil {
		return s, nil
	}
	return s, cfg.Registerer.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: cfg.Metric, Help: cfg.Help}, s.count))
}

// Take takes so many bytes of a tenant's share. Where that is used up it takes nothing, and tells how long to wait.
func (s *Shares) Take(tenant string, bytes int) (wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	s.tidy(now)
	if wait = s.budget.WaitTenant(tenant, now); wait > 0 {
		if !s.late[tenant] {
			s.cfg.Logger.Warn(s.cfg.Late, "tenant", tenant)
		}
		s.late[tenant] = true
		return wait
	}
	s.budget.Pay(tenant, max(bytes, Least), now)
	return 0
}

// Pay takes so many bytes whether there are as many or not; less than 0 gives back.
func (s *Shares) Pay(tenant string, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.budget.Pay(tenant, bytes, s.cfg.Now())
}

// tidy forgets who is late no more, and who has not written for long; s.mu is held.
func (s *Shares) tidy(now time.Time) {
	maps.DeleteFunc(s.late, func(tenant string, _ bool) bool { return s.budget.WaitTenant(tenant, now) == 0 })
	if now.Sub(s.tidied) >= tidyEvery {
		s.budget.Tidy(now)
		s.tidied = now
	}
}

// count tells how many tenants are late.
func (s *Shares) count() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tidy(s.cfg.Now())
	return float64(len(s.late))
}
