package start

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gti/gtm/pkg/spec"
)

// Known is what is there already.
type Known struct {
	Zones map[string]map[string][]string // each with what it grants to tenants
	Free  func(spec.Key) error           // refuses a key under which something is there, so that another answer is asked for; nil: none is
}

// free refuses what an answer would replace.
func (k *Known) free(tenant string, kind spec.Kind, name string) error {
	if k.Free == nil {
		return nil
	}
	return k.Free(spec.Key{Tenant: tenant, Kind: kind, Name: name})
}

// TakenError: something is there already.
type TakenError struct{ Key spec.Key }

func (e *TakenError) Error() string { return e.Key.String() + " is there already" }

// Unused refuses resources if any of them is there already: a first service replaces nothing. free is that of Known.
func Unused(resources []*spec.Resource, free func(spec.Key) error) error {
	var faults []string
	hints := map[string]bool{}
	for _, r := range resources {
		err := free(r.Key)
		var taken *TakenError
		switch {
		case errors.As(err, &taken):
			faults = append(faults, taken.Error())
			hints[wayOut(r.Kind)] = true
		case err != nil:
			return err
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%s, and init replaces nothing; nothing was changed: take %s, or change what is there with gtmctl edit",
		strings.Join(faults, ", "), strings.Join(slices.Sorted(maps.Keys(hints)), " and "))
}

// wayOut says what to choose anew where a resource of a kind is there already.
func wayOut(kind spec.Kind) string {
	switch kind {
	case spec.KindPool:
		return "another name for each such pool (--pool)"
	case spec.KindZone:
		return "another zone (--zone)"
	}
	return "a host with another first label (--host)"
}
