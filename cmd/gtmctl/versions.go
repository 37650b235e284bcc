package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/files"
	"github.com/gti/gtm/pkg/spec"
)

func (a *app) showCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "show TENANT@GENERATION [KIND[/NAME]]",
		Short: "Show what a tenant declared at a generation, as YAML",
		Example: `  gtmctl show shop@41
  gtmctl show shop@41 service/web`,
		Args:              needArgs(1, 2),
		ValidArgsFunction: a.completeTenant,
		RunE: func(c *cobra.Command, args []string) error {
			tenant, generation, err := parseFullState(args[0])
			if err != nil {
				return err
			}
			kind, name := spec.Kind(""), ""
			if len(args) > 1 {
				word, of, _ := strings.Cut(args[1], "/")
				if kind, err = a.kind(c.Context(), word); err != nil {
					return err
				}
				name = of
			}
			var list api.ResourceList
			if err := a.call(c.Context(), http.MethodGet, statePath(tenant, generation)+"/resources", nil, nil, &list); err != nil {
				return err
			}
			kept := list.Resources[:0]
			for _, r := range list.Resources {
				if (kind == "" || r.Kind == kind) && (name == "" || r.Name == name) {
					kept = append(kept, r)
				}
			}
			if list.Resources = kept; len(kept) == 0 {
				return fmt.Errorf("there was no such resource in %s@%d", tenant, generation)
			}
			if a.output == "table" {
				text, err := yamlText(list.Resources)
				if err == nil {
					_, err = a.out.Write([]byte(escaped(string(text))))
				}
				return err
			}
			return a.emit(list, nil)
		},
	}
}

// yamlText writes resources as people declare them.
func yamlText(list []api.Resource) ([]byte, error) {
	var all []*spec.Resource
	for _, r := range list {
		decoded, err := r.ToSpec(spec.Tolerant)
		if err != nil {
			return nil, err
		}
		decoded.Generation = r.Generation
		all = append(all, decoded)
	}
	return spec.EncodeYAML(all)
}

func parseFullState(word string) (tenant string, generation uint64, err error) {
	tenant, generation, ok, err := parseState(word)
	if err == nil && !ok {
		err = misusef("%s: say which generation, as in %s@39; gtmctl history %s lists them", tenant, tenant, tenant)
	}
	return tenant, generation, err
}

func statePath(tenant string, generation uint64) string {
	return "history/" + url.PathEscape(tenant) + "/" + strconv.FormatUint(generation, 10)
}

// diffStates shows what differs between two generations of a tenant.
func (a *app) diffStates(ctx context.Context, from, to string) error {
	tenant, first, err := parseFullState(from)
	if err != nil {
		return err
	}
	other, second, err := parseFullState(to)
	if err != nil {
		return err
	}
	if tenant != other {
		return misusef("%s and %s are of different tenants", from, to)
	}
	var reply api.ApplyReply
	path := statePath(tenant, first) + "/to/" + strconv.FormatUint(second, 10)
	if err := a.call(ctx, http.MethodGet, path, nil, nil, &reply); err != nil {
		return err
	}
	return a.showDifferences(&reply)
}

func (a *app) blameCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "blame [TENANT/]KIND/NAME [FIELD]",
		Short: "Show which change wrote each field of a resource, and who made it",
		Example: `  gtmctl blame shop/service/web
  gtmctl blame shop/service/web spec.rules
  gtmctl blame site/fra`,
		Args: needArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			key, err := a.parseResource(c.Context(), args[0])
			if err != nil {
				return err
			}
			query := url.Values{}
			if len(args) > 1 {
				query.Set("field", args[1])
			}
			var b api.Blame
			if err := a.call(c.Context(), http.MethodGet, resourcePath(key)+"/blame", query, nil, &b); err != nil {
				return err
			}
			return a.emit(b, func() {
				var rows [][]string
				for _, f := range b.Fields {
					state, who, when := "-", "-", "-"
					if f.Record != nil {
						state, who, when = f.Record.State(), orDash(f.Record.Author), f.Record.Time.Local().Format(time.DateTime)
					}
					rows = append(rows, []string{state, when, who, f.Path, clip(f.Value)})
				}
				a.table([]string{"state", "when", "who", "field", "value"}, rows)
				if b.Older {
					fmt.Fprintln(a.err, "fields without a state were written before the changes that history tells")
				}
			})
		},
	}
}

// parseResource reads TENANT/KIND/NAME, or KIND/NAME of the platform's kinds.
func (a *app) parseResource(ctx context.Context, word string) (spec.Key, error) {
	parts := strings.Split(word, "/")
	if len(parts) < 2 {
		return spec.Key{}, misusef("%q is not TENANT/KIND/NAME, as in shop/service/web", word)
	}
	if kind, err := parseKind(parts[0]); err == nil && ofPlatform(kind) {
		return parseName(kind, strings.Join(parts[1:], "/"))
	}
	if len(parts) < 3 {
		return spec.Key{}, misusef("%q is not TENANT/KIND/NAME, as in shop/service/web", word)
	}
	kind, err := a.kind(ctx, parts[1])
	if err != nil {
		return spec.Key{}, err
	}
	return parseName(kind, parts[0]+"/"+strings.Join(parts[2:], "/"))
}

// defaultEditor is what edit starts where neither VISUAL nor EDITOR says another.
const defaultEditor = "vi"

func (a *app) editCmd() *cobra.Command {
	var dryRun, wait bool
	var message string
	c := &cobra.Command{
		Use:   "edit [TENANT/]KIND/NAME",
		Short: "Change a resource in your editor",
		Long: `Open a resource as YAML in $VISUAL or $EDITOR, and apply what is saved. It is checked before it is sent: with faults, the
editor is opened again with them on top. If somebody else changed the resource meanwhile, nothing is applied. Saved unchanged, or empty,
nothing is changed.`,
		Example: `  gtmctl edit shop/service/web
  EDITOR=nano gtmctl edit shop/pool/eu --message 'more weight for a'`,
		Args: needArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			key, err := a.parseResource(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.edit(c.Context(), key, api.ApplyRequest{DryRun: dryRun, Message: message}, wait)
		},
	}
	changeFlags(c, &dryRun, &wait, &message)
	return c
}

// mostEdits is how often an editor is opened for one change.
const mostEdits = 20

func (a *app) edit(ctx context.Context, key spec.Key, request api.ApplyRequest, wait bool) error {
	var there api.Resource
	if err := a.call(ctx, http.MethodGet, resourcePath(key), nil, nil, &there); err != nil {
		return err
	}
	before, err := yamlText([]api.Resource{there})
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gtmctl-edit-")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, strings.ToLower(string(key.Kind))+".yaml")
	text, faults := before, ""
	for range mostEdits {
		if err := os.WriteFile(path, append([]byte(faults), text...), 0o600); err != nil {
			return err
		}
		if err := a.runEditor(ctx, path); err != nil {
			return fmt.Errorf("%w; what you wrote is in %s", err, path)
		}
		if text, err = os.ReadFile(path); err != nil {
			return err
		}
		text = withoutFaults(text)
		if bytes.Equal(bytes.TrimSpace(text), bytes.TrimSpace(before)) || len(bytes.TrimSpace(text)) == 0 {
			fmt.Fprintln(a.err, "nothing was changed")
			return os.RemoveAll(dir)
		}
		err = a.applyEdited(ctx, path, text, key, request, wait)
		if err == nil {
			return os.RemoveAll(dir)
		}
		if !fixable(err) {
			return fmt.Errorf("%w; what you wrote is in %s", err, path)
		}
		faults = asComment(err)
	}
	return fmt.Errorf("%w; what you wrote is in %s", err, path)
}

// faultMark begins the lines that edit puts on top.
const faultMark = "#! "

func asComment(err error) string {
	var b strings.Builder
	for text := range strings.Lines(err.Error()) {
		b.WriteString(faultMark + strings.TrimRight(text, "\n") + "\n")
	}
	return b.String()
}

func withoutFaults(text []byte) []byte {
	var out []byte
	for l := range bytes.Lines(text) {
		if !bytes.HasPrefix(l, []byte(faultMark)) {
			out = append(out, l...)
		}
	}
	return out
}

// fixable reports whether what is wrong can be mended in the editor.
func fixable(err error) bool {
	var faults spec.Errors
	var problem *api.Problem
	return errors.As(err, &faults) || errors.As(err, &problem) && problem.Status == http.StatusUnprocessableEntity
}

// applyEdited checks what was edited, and sends it.
func (a *app) applyEdited(ctx context.Context, path string, text []byte, key spec.Key, request api.ApplyRequest, wait bool) error {
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	resources, err := files.Load([]string{path}, a.in)
	if err != nil {
		return err
	}
	if len(resources) != 1 || resources[0].Key != key {
		return spec.Errors{{Msg: fmt.Sprintf("this must be %s alone: apply other resources with gtmctl apply -f", key)}}
	}
	if err := spec.Validate(resources[0]); err != nil {
		return err
	}
	wire, err := api.FromSpec(resources[0])
	if err != nil {
		return err
	}
	wire.Origin = &api.Origin{File: path, Line: resources[0].Origin.Line}
	request.Resources = []api.Resource{wire}
	dry := request
	dry.DryRun = true
	if _, err := a.foretell(ctx, "apply", dry); err != nil {
		return locate(err, resources)
	}
	return locate(a.change(ctx, "apply", request, request.DryRun, wait), resources)
}

func (a *app) runEditor(ctx context.Context, path string) error {
	command := firstOf(a.getenv("VISUAL"), a.getenv("EDITOR"), defaultEditor)
	words := strings.Fields(command)
	editor := exec.CommandContext(ctx, words[0], append(words[1:], path)...)
	editor.Stdin, editor.Stdout, editor.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := editor.Run(); err != nil {
		return fmt.Errorf("the editor %s failed: %w; name another in EDITOR", command, err)
	}
	return nil
}
