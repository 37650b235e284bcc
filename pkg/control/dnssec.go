package control

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/control/keys"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// Keys looks after the keys of signed zones: a *keys.Manager.
type Keys interface {
	Status() []api.SignedZone
	Roll(ctx context.Context, zone string, ksk bool) error
	DSSeen(ctx context.Context, zone string) error
	DSGone(ctx context.Context, zone string) error
	// Kept gives the last keysets that were seen of the zones, also from before the last start, by zone.
	Kept() (map[string]dnssec.Keyset, error)
}

type zoneInput struct {
	Zone string `path:"zone" maxLength:"1024"`
}

type rollInput struct {
	Zone string `path:"zone" maxLength:"1024"`
	Body api.RollRequest
}

func (s *Server) routeKeys(h huma.API) {
	huma.Register(h, operation("list-signed-zones", need{access.Read, ofPlatform}, http.MethodGet, "/dnssec",
		"The zones that are signed, and their keys"), s.signedZones)
	huma.Register(h, operation("get-signed-zone", need{access.Read, ofPlatform}, http.MethodGet, "/dnssec/{zone}", "The keys of a zone"),
		s.signedZone)
	huma.Register(h, operation("roll-key", need{access.Operate, ofPlatform}, http.MethodPost, "/dnssec/{zone}/roll",
		"Go to a zone's next key"), s.roll)
	huma.Register(h, operation("ds-seen", need{access.Operate, ofPlatform}, http.MethodPost, "/dnssec/{zone}/ds-seen",
		"Tell that the parent has the DS"), s.dsSeen)
	huma.Register(h, operation("ds-gone", need{access.Operate, ofPlatform}, http.MethodPost, "/dnssec/{zone}/ds-gone",
		"Tell that the parent has no DS any more"), s.dsGone)
}

func (s *Server) signedZones(context.Context, *struct{}) (*reply[api.SignedZones], error) {
	if s.cfg.Keys == nil {
		return nil, noKeys()
	}
	return &reply[api.SignedZones]{api.SignedZones{Zones: s.cfg.Keys.Status()}}, nil
}

func noKeys() error {
	return problemf(http.StatusNotFound, "this control looks after no keys: ask one that does")
}

func (s *Server) signedZone(_ context.Context, in *zoneInput) (*reply[api.SignedZone], error) {
	return s.keysOf(in.Zone)
}

func (s *Server) keysOf(name string) (*reply[api.SignedZone], error) {
	if s.cfg.Keys == nil {
		return nil, noKeys()
	}
	name = canonicalZone(name)
	var names []string
	for _, z := range s.cfg.Keys.Status() {
		if z.Zone == name {
			return &reply[api.SignedZone]{z}, nil
		}
		names = append(names, z.Zone)
	}
	return nil, s.noSigned(name, names)
}

// noSigned tells of a zone without keys whether it is a zone at all.
func (s *Server) noSigned(name string, signed []string) error {
	platform := s.cfg.Mirror.Tenant(spec.Platform)
	if _, there := platform.Resources.Get(spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: name}); there {
		return problemf(http.StatusNotFound, "the zone %s is not signed: declare dnssec in its spec%s", name, didYouMean(name, signed))
	}
	zones := signed
	for key := range platform.Resources.All() {
		if key.Kind == spec.KindZone {
			zones = append(zones, key.Name)
		}
	}
	slices.Sort(zones)
	return problemf(http.StatusNotFound, "there is no zone %s%s", name, didYouMean(name, slices.Compact(zones)))
}

func canonicalZone(name string) string {
	if canonical, err := spec.CanonicalZone(name); err == nil {
		return canonical
	}
	return name
}

func (s *Server) roll(ctx context.Context, in *rollInput) (*reply[api.SignedZone], error) {
	return s.askKeys(ctx, in.Zone, "a key roll was asked for",
		func(zone string) error { return s.cfg.Keys.Roll(ctx, zone, in.Body.KSK) })
}

func (s *Server) dsSeen(ctx context.Context, in *zoneInput) (*reply[api.SignedZone], error) {
	return s.askKeys(ctx, in.Zone, "the DS was seen at the parent", func(zone string) error { return s.cfg.Keys.DSSeen(ctx, zone) })
}

func (s *Server) dsGone(ctx context.Context, in *zoneInput) (*reply[api.SignedZone], error) {
	return s.askKeys(ctx, in.Zone, "the DS is gone from the parent", func(zone string) error { return s.cfg.Keys.DSGone(ctx, zone) })
}

// askKeys does something to a zone's keys, and gives what has become of them. The log says who wanted it.
func (s *Server) askKeys(ctx context.Context, name, what string, do func(zone string) error) (*reply[api.SignedZone], error) {
	if _, err := s.keysOf(name); err != nil {
		return nil, err
	}
	name = canonicalZone(name)
	ended, err := s.cfg.Audit.Ask(chain.ActKeys, authorOf(ctx), spec.Platform, name, what)
	if err != nil {
		return nil, problemOf(err)
	}
	err = do(name)
	ended(err)
	var refused *keys.RefusedError
	switch {
	case errors.As(err, &refused):
		return nil, problemf(http.StatusConflict, "%s", err)
	case err != nil:
		return nil, problemOf(err)
	}
	s.cfg.Logger.Info(what, "zone", name, "by", authorOf(ctx))
	out, err := s.keysOf(name)
	if err != nil { // nothing is left of them
		return &reply[api.SignedZone]{api.SignedZone{Zone: name, State: api.ZoneUnsigned, Keys: []api.ZoneKey{}}}, nil
	}
	return out, nil
}
