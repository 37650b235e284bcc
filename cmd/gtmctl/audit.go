package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/audit/chain"
)

func (a *app) auditCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "Read and verify the log of who did what",
		Long: `Read and verify the audit log of a control: who did or was refused what, and when. Each control has one of its own.

Each line has the hash of the line before. So whoever changes a line, or takes one out, has to change all that follow; and who knows
the hash of a later line sees that. verify prints the name and the hash of the last line: keep them elsewhere, and pass them with
--expect.`,
		Args: a.subcommand,
		RunE: showHelp,
	}
	c.AddCommand(a.auditExportCmd(), a.auditVerifyCmd(), a.auditMergeCmd())
	return c
}

func (a *app) auditExportCmd() *cobra.Command {
	var after uint64
	c := &cobra.Command{
		Use:   "export",
		Short: "Print the log as lines of JSON, oldest first",
		Example: `  gtmctl audit export > audit.jsonl
  gtmctl audit export --after 812 >> audit.jsonl
  gtmctl audit export | jq -r 'select(.act=="change") | [.time, .author, .outcome, .message] | @tsv'`,
		Args: needArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.eachAudit(c.Context(), after, func(text []byte) error {
				_, err := fmt.Fprintf(a.out, "%s\n", text)
				return err
			})
		},
	}
	c.Flags().Uint64Var(&after, "after", 0, "the number of the entry behind which to begin")
	return c
}

// eachAudit calls fn with each line of the server's log that was there when it began.
func (a *app) eachAudit(ctx context.Context, after uint64, fn func([]byte) error) error {
	var status api.Status
	if err := a.call(ctx, http.MethodGet, "status", nil, nil, &status); err != nil {
		return err
	}
	client, err := a.connect()
	if err != nil {
		return err
	}
	if status.Audit == nil { // there is none, or who asks may not see it: the log itself says which
		var none []byte
		return cmp.Or(client.do(ctx, http.MethodGet, "audit", url.Values{"limit": {"1"}}, nil, &none),
			errors.New("this control tells nothing of an audit log"))
	}
	for after < status.Audit.Last {
		query := url.Values{"after": {strconv.FormatUint(after, 10)}}
		var text []byte
		if err := client.do(ctx, http.MethodGet, "audit", query, nil, &text); err != nil {
			return err
		}
		before := after
		for line := range bytes.Lines(text) {
			var at struct{ Seq uint64 }
			if err := json.Unmarshal(line, &at); err != nil {
				return fmt.Errorf("the log of %s cannot be read behind entry %d: %w", client.Server(), after, err)
			}
			if at.Seq > status.Audit.Last {
				return nil
			}
			if err := fn(bytes.TrimSuffix(line, []byte("\n"))); err != nil {
				return err
			}
			after = at.Seq
		}
		if after == before {
			return fmt.Errorf("%s tells nothing behind entry %d of %d; its log says why", client.Server(), after, status.Audit.Last)
		}
	}
	return nil
}

func (a *app) auditVerifyCmd() *cobra.Command {
	var expect []string
	c := &cobra.Command{
		Use:   "verify [FILE...]",
		Short: "Check that no line of the log was changed, and none is missing",
		Long: `Check that no line of a log was changed, and none is missing: of the server's log, or of files that audit export wrote, of
one control or of several. What the logs say of one generation must agree.

A log may begin later than with its first entry, where the oldest were removed. That its end is missing shows only against what is known
of it: pass what verify or status told before with --expect.`,
		Example: `  gtmctl audit verify
  gtmctl audit verify fra.jsonl ams.jsonl
  gtmctl audit verify --expect fra-2gq7c1xk:812=9f2c51...`,
		RunE: func(c *cobra.Command, args []string) error {
			v := &chain.Verifier{Expect: map[string]string{}}
			for _, e := range expect {
				name, hash, ok := strings.Cut(e, "=")
				if !ok || !strings.Contains(name, ":") || hash == "" {
					return misusef("--expect %s is not WRITER:NUMBER=HASH, as audit verify prints it", e)
				}
				v.Expect[name] = hash
			}
			var err error
			if len(args) == 0 {
				err = a.eachAudit(c.Context(), 0, func(text []byte) error { v.Line(text); return nil })
			}
			for _, path := range args {
				add := v.Add
				if len(args) > 1 {
					add = func(r io.Reader) error { return v.AddLog(path, r) }
				}
				err = errors.Join(err, withFile(path, add))
			}
			if err != nil {
				return err
			}
			if len(args) > 0 && v.Lines() == 0 {
				return fmt.Errorf("there is no entry in %s: an export that failed leaves such a file", strings.Join(args, ", "))
			}
			return a.showVerified(v)
		},
	}
	c.Flags().StringArrayVar(&expect, "expect", nil,
		"an entry that must be there, and its hash, as in fra-2gq7c1xk:812=9f2c... (repeatable)")
	return c
}

func withFile(path string, fn func(io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := fn(f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// verified is what verify tells programs.
type verified struct {
	Lines   int           `json:"lines"`
	Chains  []chain.Chain `json:"chains"`
	Faults  []string      `json:"faults,omitempty"`
	Missing []string      `json:"missing,omitempty"`
}

func (a *app) showVerified(v *chain.Verifier) error {
	out := verified{Lines: v.Lines(), Chains: v.Chains(), Missing: v.Missing()}
	for _, f := range v.Faults() {
		out.Faults = append(out.Faults, f.String())
	}
	err := a.emit(out, func() {
		for _, f := range out.Faults {
			a.printf("%s %s\n", a.paint(bad, "!"), f)
		}
		for _, name := range out.Missing {
			a.printf("%s %s is not there, though it was expected\n", a.paint(bad, "!"), name)
		}
		for _, c := range out.Chains {
			a.printf("%s=%s\n  entries %d to %d\n", chain.Name(c.Writer, c.Last), c.Head, c.First, c.Last)
			if len(c.Open) > 0 {
				a.printf("  of %s nothing tells what became: control ended in between (%s ...)\n", plural(len(c.Open), "act"),
					chain.Name(c.Writer, c.Open[0]))
			}
		}
	})
	if err == nil && len(out.Faults)+len(out.Missing) > 0 {
		return errors.New("the log is not whole, or was changed")
	}
	return err
}

func (a *app) auditMergeCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "merge FILE...",
		Short:   "Print the logs of several controls as one, by time",
		Example: "  gtmctl audit merge fra.jsonl ams.jsonl > all.jsonl",
		Args:    needArgs(1, 100),
		RunE: func(_ *cobra.Command, args []string) error {
			var logs []io.Reader
			for _, path := range args {
				f, err := os.Open(path)
				if err != nil {
					return err
				}
				defer f.Close()
				logs = append(logs, f)
			}
			return chain.Merge(a.out, logs...)
		},
	}
}
