package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// needArgs refuses a call with fewer or more arguments than fit, and shows how it is meant. most < 0: any number.
func needArgs(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef(c, "%s needs %s", c.CommandPath(), plural(least, "argument"))
		case most == 0 && len(args) > 0:
			return usagef(c, "%s takes no arguments, got %q", c.CommandPath(), args[0])
		case most > 0 && len(args) > most:
			return usagef(c, "%s takes at most %s, got %d", c.CommandPath(), plural(most, "argument"), len(args))
		}
		return nil
	}
}

// misuse is an error in what was typed, whatever the server holds: it ends with exitUsage.
type misuse struct{ error }

func misusef(format string, args ...any) error { return misuse{fmt.Errorf(format, args...)} }

// need makes a flag one without which the command makes no sense; hint says what to do.
func need(c *cobra.Command, flag, hint string) {
	_ = c.MarkFlagRequired(flag)
	_ = c.Flags().SetAnnotation(flag, hintAnnotation, []string{hint})
}

const hintAnnotation = "gtm_hint"

// missingFlags refuses a call without the flags that it needs. cobra's own check comes too late to be told from a failure, and
// says only their names.
func missingFlags(c *cobra.Command) error {
	var hints []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if hint := f.Annotations[hintAnnotation]; len(hint) > 0 && !f.Changed {
			hints = append(hints, hint[0])
		}
	})
	if len(hints) == 0 {
		return nil
	}
	return usagef(c, "%s", strings.Join(hints, "\n"))
}

// usagef is an error about the command line.
func usagef(c *cobra.Command, format string, args ...any) error {
	return fmt.Errorf("%s\nusage: %s\nRun '%s --help' for examples", fmt.Sprintf(format, args...), c.UseLine(), c.CommandPath())
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// flagHint gives "; did you mean --x?" for a flag that is not known.
func flagHint(c *cobra.Command, err error) string {
	_, word, ok := strings.Cut(err.Error(), "unknown flag: --")
	if !ok {
		return ""
	}
	var names []string
	for _, found := range flagName.FindAllStringSubmatch(c.Flags().FlagUsages(), -1) {
		names = append(names, found[1])
	}
	if near := spec.Closest(word, names); near != "" {
		return fmt.Sprintf("; did you mean --%s?", near)
	}
	return ""
}

// flagName finds the flags in what cobra prints of them.
var flagName = regexp.MustCompile(`(?m)^\s+(?:-\w, )?--([a-z-]+)`)

// parseKind reads a kind as people type it: any letter case, singular or plural.
func parseKind(word string) (spec.Kind, error) {
	names := make([]string, len(spec.Kinds))
	for i, kind := range spec.Kinds {
		if strings.EqualFold(word, string(kind)) || strings.EqualFold(word, string(kind)+"s") {
			return kind, nil
		}
		names[i] = string(kind)
	}
	if near := spec.Closest(strings.TrimSuffix(word, "s"), names); near != "" {
		return "", misusef("%q is not a kind; did you mean %s?", word, near)
	}
	return "", misusef("%q is not a kind; it can be %s", word, strings.Join(names, ", "))
}

// parseName reads TENANT/NAME of a kind. For the platform's own kinds, and a Tenant, the tenant may be left out, and a zone's
// final dot.
func parseName(kind spec.Kind, word string) (spec.Key, error) {
	if kind == spec.KindZone {
		return parseZone(strings.TrimPrefix(word, spec.Platform+"/"))
	}
	tenant, name, ok := strings.Cut(word, "/")
	if !ok {
		switch tenant, name = spec.Platform, word; {
		case kind == spec.KindTenant:
			tenant = word // its name is the tenant's
		case !ofPlatform(kind):
			return spec.Key{}, misusef("%q does not say whose %s it is; write TENANT/%s", word, kind, word)
		}
	}
	if tenant == "" || name == "" || strings.Contains(name, "/") {
		return spec.Key{}, misusef("%q is not TENANT/NAME", word)
	}
	if kind == spec.KindPool {
		if err := noRegion(word); err != nil {
			return spec.Key{}, err
		}
	}
	return spec.Key{Tenant: tenant, Kind: kind, Name: name}, nil
}

// parseZone reads the name of a zone, which may have slashes, as in 0/25.2.0.192.in-addr.arpa. (RFC 2317).
func parseZone(name string) (spec.Key, error) {
	canonical, err := spec.CanonicalZone(name)
	if err != nil {
		return spec.Key{}, misusef("%q is not the name of a zone: %w", name, err)
	}
	return spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: canonical}, nil
}

func ofPlatform(kind spec.Kind) bool {
	return kind == spec.KindZone || kind == spec.KindSite || kind == spec.KindMap
}

// poolName is TENANT/POOL, or TENANT/POOL/ENDPOINT.
type poolName struct{ tenant, pool, endpoint string }

func parsePool(word string, endpoint bool) (poolName, error) {
	parts := strings.Split(word, "/")
	form := "TENANT/POOL"
	if endpoint {
		form = "TENANT/POOL or TENANT/POOL/ENDPOINT"
	}
	most := 2
	if endpoint {
		most = 3
	}
	if len(parts) < 2 || len(parts) > most {
		return poolName{}, misusef("%q is not %s", word, form)
	}
	if err := noRegion(word); err != nil {
		return poolName{}, err
	}
	for _, part := range parts {
		if part == "" {
			return poolName{}, misusef("%q is not %s", word, form)
		}
	}
	name := poolName{tenant: parts[0], pool: parts[1]}
	if len(parts) == 3 {
		name.endpoint = parts[2]
	}
	return name, nil
}

// noRegion refuses a pool as it is judged for a region, which verdicts and a hold's scores name so: what there is to ask and to do is of
// all of the pool.
func noRegion(word string) error {
	of, region := health.PoolID{Pool: word}.Declared()
	if region, below, ok := strings.Cut(region, "/"); region != "" {
		if ok {
			of.Pool += "/" + below
		}
		return misusef("%q is a pool as it is judged for clients of %s, which is told with the pool: write %s", word, region, of.Pool)
	}
	return nil
}

// parseState reads TENANT@GENERATION; without @GENERATION, ok is false and only the tenant is set.
func parseState(word string) (tenant string, generation uint64, ok bool, err error) {
	tenant, number, ok := strings.Cut(word, "@")
	if tenant == "" {
		return "", 0, false, misusef("%q is not TENANT@GENERATION, as in shop@41", word)
	}
	if !ok {
		return tenant, 0, false, nil
	}
	generation, err = strconv.ParseUint(number, 10, 64)
	if err != nil || generation == 0 {
		return "", 0, false, misusef("%q: %q is not a generation; write TENANT@GENERATION, as in shop@41", word, number)
	}
	return tenant, generation, true, nil
}

// parseExpect reads TENANT@GENERATION words; generation 0 means that the tenant has none yet.
func parseExpect(words []string) (map[string]uint64, error) {
	expect := make(map[string]uint64, len(words))
	for _, word := range words {
		tenant, number, ok := strings.Cut(word, "@")
		generation, err := strconv.ParseUint(number, 10, 64)
		if !ok || tenant == "" || err != nil {
			return nil, misusef("--expect %s is not TENANT@GENERATION, as in shop@41", word)
		}
		expect[tenant] = generation
	}
	return expect, nil
}

// parseWeights reads NAME=WEIGHT pairs; what is what has the names.
func parseWeights(what string, pairs []string) (map[string]int, error) {
	weights := make(map[string]int, len(pairs))
	for _, pair := range pairs {
		name, number, ok := strings.Cut(pair, "=")
		weight, err := strconv.Atoi(number)
		switch {
		case !ok || name == "" || err != nil:
			return nil, misusef("%q is not %s=WEIGHT, as in a=3", pair, what)
		case weight < 0:
			return nil, misusef("%q: a weight is 0 or more", pair)
		}
		if _, twice := weights[name]; twice {
			return nil, misusef("%s has two weights", name)
		}
		weights[name] = weight
	}
	return weights, nil
}

// duration is a flag that is written as all durations of gtm are, with days and weeks.
type duration time.Duration

// durationVar defines such a flag, whose value p has already.
func durationVar(f *pflag.FlagSet, p *time.Duration, name, usage string) {
	f.Var((*duration)(p), name, usage)
}

func (d *duration) Set(text string) error {
	value, err := spec.ParseDuration(text)
	*d = duration(value)
	return err
}

// String gives "" for none, so that help tells no default.
func (d *duration) String() string {
	if *d == 0 {
		return ""
	}
	return spec.Duration(*d).String()
}

func (d *duration) Type() string { return "duration" }
