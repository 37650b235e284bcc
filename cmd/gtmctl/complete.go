package main

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

// Completion asks the server, but a shell must not hang on one that is away.
const completeWithin = 2 * time.Second

// ask fills out from the API, or leaves it empty: completion never complains.
func (a *app) ask(ctx context.Context, path string, query url.Values, out any) {
	ctx, cancel := context.WithTimeout(ctx, completeWithin)
	defer cancel()
	_ = a.call(ctx, http.MethodGet, path, query, nil, out)
}

func (a *app) completeKindThenName(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		var words []string
		for _, kind := range spec.Kinds {
			words = append(words, string(kind))
		}
		return words, cobra.ShellCompDirectiveNoFileComp
	}
	kind, err := parseKind(args[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.DeleteFunc(a.names(c.Context(), kind), func(name string) bool { return slices.Contains(args[1:], name) }),
		cobra.ShellCompDirectiveNoFileComp
}

func (a *app) names(ctx context.Context, kind spec.Kind) []string {
	var list api.ResourceList
	a.ask(ctx, "resources", url.Values{"kind": {string(kind)}}, &list)
	words := make([]string, 0, len(list.Resources))
	for _, r := range list.Resources {
		words = append(words, r.Tenant+"/"+r.Name)
	}
	return words
}

// completePool gives pools and their endpoints.
func (a *app) completePool(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var words []string
	if len(args) == 0 {
		for _, p := range a.pools(c.Context()) {
			name := p.Tenant + "/" + p.Pool
			words = append(words, name)
			for _, e := range p.Endpoints {
				words = appendOnce(words, name+"/"+spec.DeclaredName(e.Name))
			}
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completePushed gives the sources that are pushed.
func (a *app) completePushed(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var words []string
	if len(args) == 0 {
		for _, p := range a.pools(c.Context()) {
			for i := range p.Sources {
				if s := &p.Sources[i]; s.Of == spec.FindPushed && !s.Off {
					words = append(words, p.Tenant+"/"+p.Pool+"/"+s.Name)
				}
			}
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completeWeights gives services and pools, then the endpoints of a pool as NAME=.
func (a *app) completeWeights(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var words []string
	if len(args) == 0 {
		words = a.names(c.Context(), spec.KindService)
	}
	for _, p := range a.pools(c.Context()) {
		name := p.Tenant + "/" + p.Pool
		switch {
		case len(args) == 0:
			words = append(words, name)
		case args[0] == name:
			for _, e := range p.Endpoints {
				words = appendOnce(words, spec.DeclaredName(e.Name)+"=")
			}
		}
	}
	if len(args) == 0 {
		return words, cobra.ShellCompDirectiveNoFileComp
	}
	return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeRamp gives pools, then the endpoints of one.
func (a *app) completeRamp(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var words []string
	for _, p := range a.pools(c.Context()) {
		name := p.Tenant + "/" + p.Pool
		switch {
		case len(args) == 0:
			words = append(words, name)
		case len(args) == 1 && args[0] == name:
			for _, e := range p.Endpoints {
				words = appendOnce(words, spec.DeclaredName(e.Name))
			}
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completeShift gives services, then the pools of the rule, or of all, as NAME=.
func (a *app) completeShift(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.names(c.Context(), spec.KindService), cobra.ShellCompDirectiveNoFileComp
	}
	var words []string
	for _, r := range a.rules(c.Context(), args[0]) {
		if rule := c.Flag("rule").Value.String(); rule != "" && rule != r.Rule {
			continue
		}
		for _, p := range r.Pools {
			if !strings.ContainsAny(p.Pool, "(: ") { // else it is no pool, and has no weight to set
				words = append(words, p.Pool+"=")
			}
		}
	}
	slices.Sort(words)
	return slices.Compact(words), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeRule gives the rules of the service that is the first argument.
func (a *app) completeRule(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var words []string
	if len(args) > 0 {
		for _, r := range a.rules(c.Context(), args[0]) {
			words = append(words, r.Rule)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) pools(ctx context.Context) []api.Pool {
	var status api.Status
	a.ask(ctx, "status", nil, &status)
	return status.Pools
}

func (a *app) rules(ctx context.Context, service string) []api.RuleWeights {
	var weights api.ServiceWeights
	if key, err := parseName(spec.KindService, service); err == nil {
		a.ask(ctx, servicePath(key)+"/weights", nil, &weights)
	}
	return weights.Rules
}

func (a *app) completeTenant(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 && c.Name() != "wait" {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var edges api.Edges
	a.ask(c.Context(), "edges", nil, &edges)
	return slices.Sorted(maps.Keys(edges.Heads)), cobra.ShellCompDirectiveNoFileComp
}

// didYouMean gives "; did you mean x?", or nothing.
func didYouMean(word string, candidates []string) string {
	if near := spec.Closest(word, candidates); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// appendOnce leaves out a word that is the last already.
func appendOnce(words []string, word string) []string {
	if n := len(words); n > 0 && words[n-1] == word {
		return words
	}
	return append(words, word)
}
