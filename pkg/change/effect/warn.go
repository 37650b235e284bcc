package effect

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table"
)

// mostNamed is how many countries a warning names.
const mostNamed = 5

// Warnings gives what is lawful and may still not be meant.
func (e *Effect) Warnings() (list spec.Errors) {
	for i := range e.all {
		e.all[i].warn(&list)
	}
	for i := range e.later {
		e.later[i].warnLater(&list)
	}
	if e.Skipped > 0 {
		list.Add(&spec.Error{Msg: fmt.Sprintf("what becomes of the answers of %d services is not told: the change concerns more than %d",
			e.Skipped, MostServices), Hint: "make it in smaller changes to see all"})
	}
	return list
}

func (s *Service) warn(list *spec.Errors) {
	add := func(hint, format string, args ...any) {
		list.Add(&spec.Error{Resource: s.Key.String(), Msg: fmt.Sprintf(format, args...), Hint: hint})
	}
	for _, f := range s.Falls {
		add("", "no pool of their rule is up then for clients of %s: %s", s.namesOf(f), howOf(f))
	}
	if s.SitesUp[1] == 1 && s.SitesUp[0] > 1 {
		add("", "pools at one site only are up then (now at %d)", s.SitesUp[0])
	}
	for _, p := range s.unmonitored() {
		add("give the pool a monitor", "pool %s is not monitored, and others are: whoever is sent there stays, whatever becomes of it", p)
	}
	s.warnTTL(add)
}

// warnLater tells what overrides hide for now.
func (s *Service) warnLater(list *spec.Errors) {
	add := func(format string, args ...any) {
		list.Add(&spec.Error{Resource: s.Key.String(), Msg: fmt.Sprintf("as of %s, when overrides of now have changed, ",
			s.At.UTC().Format(time.RFC3339)) + fmt.Sprintf(format, args...)})
	}
	if s.Largest() > least {
		add("%s of its answers move", table.Percent(s.Largest()))
	}
	for _, f := range s.Falls {
		add("no pool of their rule is up for clients of %s: %s", s.namesOf(f), howOf(f))
	}
}

func howOf(f Fall) string {
	if f.How == table.Refuse {
		return "no answer"
	}
	return f.How.String()
}

// namesOf names the countries of a fall, as in "DE, FR and 3 more (12% of all)".
func (s *Service) namesOf(f Fall) string {
	named := strings.Join(f.Countries[:min(len(f.Countries), mostNamed)], ", ")
	if more := len(f.Countries) - mostNamed; more > 0 {
		named += fmt.Sprintf(" and %d more", more)
	}
	of := "all users"
	if s.Weighing.By != ByUsers {
		of = "its clients"
	}
	return fmt.Sprintf("%s (%s of %s)", named, table.Percent(f.Users), of)
}

// unmonitored gives the pools without a monitor that get more answers than before, where the service has monitored ones.
func (s *Service) unmonitored() (names []string) {
	if !slices.ContainsFunc(s.after.pools, func(p *steer.Pool) bool { return s.after.monitored[p.ID.Pool] }) {
		return nil
	}
	for _, share := range s.Pools {
		if share.After > share.Before+least && !s.after.monitored[share.Name] {
			names = append(names, share.Name)
		}
	}
	return names
}

// warnTTL warns of a longer TTL where a drain is to come: who got an answer before it keeps that so long.
func (s *Service) warnTTL(add func(hint, format string, args ...any)) {
	if s.before.spec == nil || s.after.spec == nil {
		return
	}
	was, is := s.before.spec.LongestTTLSeconds(), s.after.spec.LongestTTLSeconds()
	if is <= was {
		return
	}
	for _, d := range s.after.drains {
		add("drain first, and make the TTL longer behind it", "the TTL goes from %ds to %ds, and %s drains %s: clients stay so long",
			was, is, d.Name, d.Spec.(*spec.Override).Pool)
	}
}
