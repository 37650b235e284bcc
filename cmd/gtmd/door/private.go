package door

import (
	"net"
	"net/http"
	"net/netip"
	"slices"

	"github.com/gti/gtm/pkg/control/identity"
	"github.com/gti/gtm/pkg/spec"
)

// Private lets to what tells of all tenants only who has a role in the platform, with --http-private; and whoever asks from this machine or
// from one of the networks, where controls and what gathers metrics are.
func (c *Config) Private(h http.Handler, book *identity.Book, networks []netip.Prefix) http.Handler {
	if !c.private {
		return h
	}
	return guarded(h, book, networks)
}

// Metrics is likewise, without --metrics-open. A gtmd that does not know who asks (book is nil) shows its metrics to everybody.
func (c *Config) Metrics(h http.Handler, book *identity.Book, networks []netip.Prefix) http.Handler {
	if c.open || book == nil {
		return h
	}
	return guarded(h, book, networks)
}

func guarded(h http.Handler, book *identity.Book, networks []netip.Prefix) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if near(r, networks) {
			h.ServeHTTP(w, r)
			return
		}
		who, err := book.Of(r)
		switch {
		case err != nil:
			w.Header().Set("WWW-Authenticate", `Bearer realm="gtm"`)
			http.Error(w, err.Error(), http.StatusUnauthorized)
		case !book.Grants(who).Sees(spec.Platform):
			http.Error(w, "this tells of all tenants: it wants the role viewer in the tenant "+spec.Platform+"; "+
				"of one tenant, GET /v1/tenants/TENANT/metrics tells", http.StatusForbidden)
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// near reports whether a request comes from this machine (control asks its own edge by the address that it is announced under), or from one
// of the networks.
func near(r *http.Request, networks []netip.Prefix) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	a := from.Addr().Unmap()
	if to, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok && to.AddrPort().Addr().Unmap() == a {
		return true
	}
	return a.IsLoopback() || slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) })
}
