package main

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
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

// completePool gives pools, then their endpoints: as NAME= for weights, as POOL/NAME for the rest.
func (a *app) completePool(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	var status api.Status
	a.ask(c.Context(), "status", nil, &status)
	var words []string
	for _, p := range status.Pools {
		name := p.Tenant + "/" + p.Pool
		switch {
		case len(args) == 0:
			words = append(words, name)
			if c.Name() == "weights" {
				continue
			}
			for _, e := range p.Endpoints {
				words = append(words, name+"/"+e.Name)
			}
		case args[0] == name && c.Name() == "weights":
			for _, e := range p.Endpoints {
				words = append(words, e.Name+"=")
			}
			return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
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
