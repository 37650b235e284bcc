// Package serve owns the sockets on which DNS is spoken: it takes messages in by UDP (in batches), TCP (RFC 7766),
// TLS (RFC 7858), HTTPS (RFC 8484, over HTTP/2 and HTTP/3) and QUIC (RFC 9250), hands each to a Handler, and sends
// what the Handler wrote. It knows nothing of DNS beyond the header, where the question ends, which it needs to
// answer for a Handler that panicked, and the TTLs, which HTTP caches go by.
//
// This package has the configuration, binds the addresses and puts the rest together: pkg/serve/datagram and
// pkg/serve/stream serve, pkg/serve/guard bounds what clients and faults can do to both, pkg/serve/cert holds the
// certificates, and pkg/serve/seam is what a Handler sees.
//
// It runs on Linux only.
package serve

import (
	"github.com/gti/gtm/pkg/serve/cert"
	"github.com/gti/gtm/pkg/serve/guard"
	"github.com/gti/gtm/pkg/serve/seam"
)

// What a Handler sees, as pkg/serve/seam has it.
type (
	Transport  = seam.Transport
	Request    = seam.Request
	Action     = seam.Action
	Handler    = seam.Handler
	Prefetcher = seam.Prefetcher
)

// The transports.
const (
	UDP   = seam.UDP
	TCP   = seam.TCP
	TLS   = seam.TLS
	HTTPS = seam.HTTPS
	QUIC  = seam.QUIC
)

// The actions.
const (
	Send     = seam.Send
	Drop     = seam.Drop
	Truncate = seam.Truncate
	Close    = seam.Close
	Stream   = seam.Stream
	Defer    = seam.Defer
)

// Window is how many messages a Prefetcher is shown at once, at most.
const Window = seam.Window

// Parts of Config and of what Server tells.
type (
	CertificateFiles = cert.Files
	RateLimit        = guard.RateLimit
	PrefixRate       = guard.PrefixRate
	Panic            = guard.Panic
)
