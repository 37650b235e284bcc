package spec

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Events says who is told what changes of health, and of rollouts.
type Events struct {
	// Metrics asks for series of each pool of the tenant.
	Metrics bool          `json:"metrics,omitempty" yaml:"metrics,omitempty"`
	Targets []EventTarget `json:"targets,omitempty" yaml:"targets,omitempty"`
}

// EventTarget is a webhook, or an Alertmanager, that control tells.
type EventTarget struct {
	Name string `json:"name" yaml:"name"`
	// Format is json (default), slack or alertmanager.
	Format string `json:"format,omitempty" yaml:"format,omitempty"`
	// URL is where a POST goes; of an Alertmanager, that below which /api/v2/alerts stands. {file: NAME} where it is a secret itself.
	URL Header `json:"url" yaml:"url"`
	// Headers are further request headers.
	Headers map[string]Header `json:"headers,omitempty" yaml:"headers,omitempty"`
	// Sign names the secret whose key signs the body, as Standard Webhooks say.
	Sign string `json:"sign,omitempty" yaml:"sign,omitempty"`
	// Kinds narrows what is told: endpoint, pool, brake, judge, change, rollout, edge. Absent: all.
	Kinds []string `json:"kinds,omitempty" yaml:"kinds,omitempty"`
	// Pools narrows it to some of the tenant's pools; of the platform's Tenant, as in shop/eu. Absent: all.
	Pools []string `json:"pools,omitempty" yaml:"pools,omitempty"`
}

// The formats of a target.
const (
	FormatJSON         = "json"
	FormatSlack        = "slack"
	FormatAlertmanager = "alertmanager"
)

// Bounds of what is told.
const (
	maxEventTargets = 8
	maxEventHeaders = 16
	maxEventPools   = 100
	maxEventURL     = 2048
)

// EventKinds are the kinds of events.
var EventKinds = []string{"endpoint", "pool", "brake", "judge", "change", "rollout", "edge"}

// FormatOr gives the format of a target.
func (t *EventTarget) FormatOr() string {
	if t.Format == "" {
		return FormatJSON
	}
	return t.Format
}

// CheckEventURL tells what is wrong with the URL of a target. The error does not quote it: it can be a secret.
func CheckEventURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case len(text) > maxEventURL:
		return fmt.Errorf("is %d bytes long: it can have at most %d", len(text), maxEventURL)
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "", u.Opaque != "",
		strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7F }):
		return fmt.Errorf("is not a URL as in https://hooks.example.net/gtm")
	case u.User != nil:
		return fmt.Errorf("names a user: write headers: {Authorization: {file: NAME}} instead")
	case u.Fragment != "":
		return fmt.Errorf("has a fragment (#), which is never sent")
	}
	return nil
}

func (c *checker) events(e *Events) {
	if len(e.Targets) > maxEventTargets {
		c.fail("spec.events.targets", "", "has %d entries: it can have at most %d", len(e.Targets), maxEventTargets)
	}
	seen := map[string]bool{}
	for i := range e.Targets {
		t, path := &e.Targets[i], indexed("spec.events.targets", i)
		if c.label(path+".name", t.Name); seen[t.Name] {
			c.fail(path+".name", "", "%s stands there twice", t.Name)
		}
		seen[t.Name] = true
		c.eventTarget(t, path)
	}
}

func (c *checker) eventTarget(t *EventTarget, path string) {
	if t.Format != "" {
		c.oneOf(path+".format", t.Format, FormatJSON, FormatSlack, FormatAlertmanager)
	}
	switch {
	case t.URL.File != "":
		if err := CheckSecret(t.URL.File); err != nil {
			c.fail(path+".url.file", "", "%v", err)
		}
	case t.URL.Text == "":
		c.fail(path+".url", "", "is missing: where it goes, as in https://hooks.example.net/gtm, or {file: NAME} of a secret")
	default:
		if err := CheckEventURL(t.URL.Text); err != nil {
			c.fail(path+".url", "", "%v", err)
		}
	}
	if len(t.Headers) > maxEventHeaders {
		c.fail(path+".headers", "", "has %d entries: it can have at most %d", len(t.Headers), maxEventHeaders)
	}
	c.headers(path+".headers", t.Headers)
	if t.Sign != "" {
		if err := CheckSecret(t.Sign); err != nil {
			c.fail(path+".sign", "", "%v", err)
		}
	}
	for i, kind := range t.Kinds {
		if kind == AuditKind {
			c.auditTarget(t, path)
			continue
		}
		c.oneOf(indexed(path+".kinds", i), kind, EventKinds...)
	}
	if len(t.Pools) > maxEventPools {
		c.fail(path+".pools", "", "has %d entries: it can have at most %d", len(t.Pools), maxEventPools)
	}
	for i, pool := range t.Pools {
		tenant, _, of := strings.Cut(pool, "/")
		if form := c.r.Tenant == Platform; of != form || of && tenant == "" || pool == "" {
			c.fail(indexed(path+".pools", i), "", "%q is not a pool as in %s", shorten(pool),
				map[bool]string{true: "shop/eu", false: "eu, of this tenant"}[form])
		}
	}
}

// AuditKind as a kind of a target of the platform has it told the audit logs of controls. It is no kind of events, and nobody gets it who
// does not name it.
const AuditKind = "audit"

// WantsAudit reports whether a target of the platform is told the audit log.
func (t *EventTarget) WantsAudit() bool { return slices.Contains(t.Kinds, AuditKind) }

func (c *checker) auditTarget(t *EventTarget, path string) {
	if c.r.Tenant != Platform {
		c.fail(path+".kinds", "", "the audit log tells of all tenants: only the tenant %s has it told", Platform)
	}
	if t.FormatOr() != FormatJSON {
		c.fail(path+".format", "name another target for people", "the audit log is told as %s alone", FormatJSON)
	}
}

// Wants reports whether a target of a tenant is told of an event of a kind and a pool; poolTenant is whose pool that is.
func (t *EventTarget) Wants(tenant, kind, poolTenant, pool string) bool {
	if len(t.Kinds) > 0 && !slices.Contains(t.Kinds, kind) {
		return false
	}
	if tenant == Platform {
		pool = poolTenant + "/" + pool
	}
	return len(t.Pools) == 0 || slices.Contains(t.Pools, pool)
}
