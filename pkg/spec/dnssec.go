package spec

import "time"

// Defaults of DNSSEC, and its words.
const (
	defaultZSKLifetime = Duration(30 * 24 * time.Hour)
	defaultKSKLifetime = Duration(365 * 24 * time.Hour)
	defaultPropagation = Duration(time.Hour)
	defaultKeyTTL      = Duration(time.Hour)
	defaultParentTTL   = Duration(48 * time.Hour)

	AlgorithmECDSA   = "ecdsa-p256"
	AlgorithmEd25519 = "ed25519"
)

// DNSSEC says how a zone is signed and how its keys roll. Keys are made, and rolled, by themselves.
type DNSSEC struct {
	// Algorithm is ecdsa-p256 (default) or ed25519. A change rolls over from one to the other.
	Algorithm string `json:"algorithm,omitempty" yaml:"algorithm,omitempty"`
	// ZSKLifetime is how long a zone-signing key signs until the next takes over: default 720h; 0s: until somebody asks.
	ZSKLifetime *Duration `json:"zskLifetime,omitempty" yaml:"zskLifetime,omitempty"`
	// KSKLifetime likewise for the key-signing key, whose roll waits for the parent's DS: default 8760h.
	KSKLifetime *Duration `json:"kskLifetime,omitempty" yaml:"kskLifetime,omitempty"`
	// Propagation is the time in which every edge and secondary serves what was published. Default 1h.
	Propagation Duration `json:"propagation,omitempty" yaml:"propagation,omitempty" zero:"absent"`
	// KeyTTL is the TTL of DNSKEY, CDS and CDNSKEY. Default 1h.
	KeyTTL Duration `json:"keyTTL,omitempty" yaml:"keyTTL,omitempty" zero:"absent"`
	// ParentTTL is the TTL of the DS at the parent. Default 48h.
	ParentTTL Duration `json:"parentTTL,omitempty" yaml:"parentTTL,omitempty" zero:"absent"`
}

// effective gives all of it filled in; no lifetime is nil.
func (d *DNSSEC) effective() DNSSEC {
	e := *d
	e.Algorithm = orDefault(d.Algorithm, AlgorithmECDSA)
	if d.ZSKLifetime == nil {
		zsk := defaultZSKLifetime
		e.ZSKLifetime = &zsk
	}
	if d.KSKLifetime == nil {
		ksk := defaultKSKLifetime
		e.KSKLifetime = &ksk
	}
	e.Propagation = orDefault(d.Propagation, defaultPropagation)
	e.KeyTTL = orDefault(d.KeyTTL, defaultKeyTTL)
	e.ParentTTL = orDefault(d.ParentTTL, defaultParentTTL)
	return e
}

// dnssec checks how a zone is to be signed.
func (c *checker) dnssec(d *DNSSEC) {
	if d.Algorithm != "" {
		c.oneOf("spec.dnssec.algorithm", d.Algorithm, AlgorithmECDSA, AlgorithmEd25519)
	}
	c.span("spec.dnssec.propagation", d.Propagation, 30*24*time.Hour)
	c.span("spec.dnssec.keyTTL", d.KeyTTL, 24*time.Hour) // well below the time for which signatures hold
	c.span("spec.dnssec.parentTTL", d.ParentTTL, 30*24*time.Hour)
	e := d.effective()
	least := 2 * (e.KeyTTL + e.Propagation)
	for _, l := range []struct {
		path     string
		lifetime *Duration
	}{{"spec.dnssec.zskLifetime", d.ZSKLifetime}, {"spec.dnssec.kskLifetime", d.KSKLifetime}} {
		if l.lifetime != nil && *l.lifetime != 0 && *l.lifetime < least {
			c.fail(l.path, "0s keeps a key until somebody asks for the next", "%v is shorter than %v, twice keyTTL and propagation",
				*l.lifetime, least)
		}
	}
}

// span checks a duration in whole seconds; 0 is one that is absent.
func (c *checker) span(path string, d Duration, most time.Duration) {
	switch {
	case d == 0:
	case time.Duration(d)%time.Second != 0:
		c.fail(path, "", "%v is not in whole seconds", d)
	case time.Duration(d) > most:
		c.fail(path, "", "%v is too long: it can be up to %v", d, Duration(most))
	}
}
