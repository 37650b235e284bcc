package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/theory/jsonpath"

	"github.com/gti/gtm/cmd/gtmctl/manual"
	"github.com/gti/gtm/cmd/gtmctl/session"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

// Exit codes, as of diff(1): all is well; something differs or failed; the command line makes no sense.
const (
	exitOK    = 0
	exitFail  = 1
	exitUsage = 2
)

// errSilent ends with exitFail; what there is to say has been said.
var errSilent = errors.New("")

// app is one call of gtmctl.
type app struct {
	world
	server    string // "": not said, see find
	context   string // the context that says how it is reached; "": none
	data      string
	found     bool // find was called
	findErr   error
	tokenFile string
	said      struct{ server, tokenFile string } // by flags and variables
	folder    string                             // gtmd's data folder, where that is trusted
	links     links                              // how the server is believed
	session   *session.Session                   // of the server; nil: nobody has logged in there, and its pin is not known
	output    string
	path      *jsonpath.Path // with which output picks
	glass     string         // why guards are not to stop a change; empty: they do
	told      bool           // the effect of the change was told already
	timeout   time.Duration
	patient   bool // the timeout was left as it is, and large changes may take longer
	// started tells that the command line made sense, so that what fails from now on is no usage error.
	started bool
}

// run is the whole of gtmctl: it gives the exit code.
func run(ctx context.Context, w world, args []string) int {
	out := &keeper{Writer: w.out}
	shown, errs := &screen{raw: out}, &screen{raw: w.err}
	defer errs.end()
	w.out, w.err = shown, errs
	a := &app{world: w, timeout: 30 * time.Second}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(w.in)
	root.SetOut(w.out)
	root.SetErr(w.err)
	c, err := root.ExecuteContextC(ctx)
	shown.end()
	var typed misuse
	switch {
	case err == nil && out.err == nil:
		return exitOK
	case out.err != nil:
		fmt.Fprintf(w.err, "gtmctl: the output was not written, or not all of it: %s%s\n", out.err, butDone(err, out.err))
		return exitFail
	case !a.started || errors.As(err, &typed):
		fmt.Fprintf(w.err, "gtmctl: %s\n", usageText(c, err))
		return exitUsage
	}
	if !errors.Is(err, errSilent) {
		a.complain(err)
	}
	return exitFail
}

// butDone tells how the command itself went, whose output was lost.
func butDone(err, lost error) string {
	if err == nil || errors.Is(err, errSilent) || errors.Is(err, lost) {
		return "; the command itself went well"
	}
	return "; and " + err.Error()
}

// complain prints what failed: faults of files by file and line, as compilers do, anything else with our name.
func (a *app) complain(err error) {
	var faults spec.Errors
	if errors.As(err, &faults) {
		for _, f := range faults {
			fmt.Fprintln(a.err, line(f.Error()))
		}
		if note := spec.CutNote(len(faults)); note != "" {
			fmt.Fprintln(a.err, note)
		}
		err = fmt.Errorf("%s; nothing was changed", plural(len(faults), "fault"))
	}
	var problem *api.Problem
	if errors.As(err, &problem) && len(problem.Errors) > 0 {
		for _, issue := range problem.Errors {
			fmt.Fprintln(a.err, line(issue.String()))
		}
		if note := spec.CutNote(len(problem.Errors)); note != "" {
			fmt.Fprintln(a.err, note)
		}
		err = errors.New(strings.ReplaceAll(firstOf(problem.Detail, problem.Title), "\n", "\n  "))
	}
	fmt.Fprintf(a.err, "gtmctl: %s\n", err)
}

// usageText puts what cobra says into one line with a way on.
func usageText(c *cobra.Command, err error) string {
	text := strings.TrimSpace(err.Error())
	if strings.Contains(text, "Run 'gtmctl") || strings.Contains(text, "--help") {
		return text
	}
	return fmt.Sprintf("%s\nRun '%s --help' for usage", text, c.CommandPath())
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "gtmctl",
		Short: "Change, show and explain what gtm serves",
		Long: `gtmctl changes, shows and explains what a gtm serves, through the HTTP API of gtmd.

Who you are, gtmctl login, a service token (--token-file), or a client certificate (--cert-file) tells; history names that as the author
of what you change. Who has the admin token of gtmd's data folder may do everything, for all tenants.

Exit codes: 0 all is well, 1 something differs or failed, 2 the command line makes no sense.`,
		Example: `  gtmctl apply -f config/ --wait
  gtmctl status
  gtmctl explain web.shop.gtm.example --subnet 81.2.69.0/24`,
		Args:              a.subcommand,
		RunE:              showHelp,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: a.start,
	}
	a.globalFlags(root)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w%s\nRun '%s --help' for usage", err, flagHint(c, err), c.CommandPath())
	})
	root.AddGroup(&cobra.Group{ID: "change", Title: "Change:"}, &cobra.Group{ID: "show", Title: "Show:"},
		&cobra.Group{ID: "other", Title: "Other:"})
	root.SetHelpCommandGroupID("other")
	root.SetCompletionCommandGroupID("other")
	group := func(id string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	group("change", a.initCmd(), a.applyCmd(), a.deleteCmd(), a.weightsCmd(), a.shiftCmd(), a.rampCmd(), a.drainCmd(), a.undrainCmd(),
		a.poolCmd(), a.holdCmd(), a.healthCmd(), a.overrideCmd(), a.signalCmd(), a.rollbackCmd(), a.rolloutCmd(), a.editCmd(),
		a.approveCmd(), a.dnssecCmd(), a.storeCmd())
	group("show", a.planCmd(), a.demandCmd(), a.diffCmd(), a.pendingCmd(), a.showCmd(), a.blameCmd(), a.getCmd(),
		a.describeCmd(), a.statusCmd(), a.explainCmd(), a.explainFieldCmd(), a.eventsCmd(),
		a.historyCmd(), a.auditCmd(), a.waitCmd(), a.edgeCmd(), a.vantageCmd())
	group("other", a.contextCmd(), a.loginCmd(), a.logoutCmd(), a.whoamiCmd(), a.tokenCmd(), a.checkCmd(), a.mapCmd(), a.geoCmd(),
		a.latencyCmd(), a.versionCmd())
	root.AddCommand(manualCmd(root))
	return root
}

// manualCmd writes pages of man(1), for make install.
func manualCmd(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:     "manual FOLDER",
		Short:   "Write pages of man(1) into a folder",
		Example: "  gtmctl manual /usr/local/share/man/man1",
		Hidden:  true,
		Args:    needArgs(1, 1),
		RunE:    func(_ *cobra.Command, args []string) error { return manual.Man(root, args[0], version) },
	}
}

func (a *app) globalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&a.server, "server", a.getenv("GTM_SERVER"),
		"URL of the API (or GTM_SERVER; default: as the data folder tells, else "+defaultServer+")")
	f.StringVar(&a.context, "context", a.getenv("GTM_CONTEXT"),
		"which of your contexts says how the API is reached (or GTM_CONTEXT; default: that of gtmctl context use)")
	f.StringVar(&a.tokenFile, "token-file", a.getenv("GTM_TOKEN_FILE"),
		"file with a token (or GTM_TOKEN_FILE; default: the login of gtmctl login, else the data folder's)")
	f.StringVar(&a.data, "data", a.getenv("GTM_DATA"),
		"gtmd's data folder, where its address and its token are (or GTM_DATA; default ./"+defaultData+")")
	a.links.register(f, a.getenv)
	f.StringVar(&a.glass, "break-glass", "", "why guards are not to stop this change; history and webhooks tell it")
	f.StringVarP(&a.output, "output", "o", "table", outputs)
	durationVar(f, &a.timeout, "timeout", "how long to wait for the server (apply: 10ms more a resource, 2s more a MiB of zone content), "+
		"and for wait and apply --wait in all")
	_ = root.RegisterFlagCompletionFunc("context", a.completeContext)
	_ = root.RegisterFlagCompletionFunc("output",
		cobra.FixedCompletions([]string{"table", "json", "yaml", "jsonpath=", "name", "wide"}, cobra.ShellCompDirectiveNoFileComp))
}

// start runs when the command line has been understood, before the command itself.
func (a *app) start(c *cobra.Command, _ []string) error {
	if err := missingFlags(c); err != nil {
		return err
	}
	if err := a.takeForm(c); err != nil {
		return err
	}
	if a.timeout <= 0 {
		return fmt.Errorf("--timeout %s is not positive; write it as in 30s", a.timeout)
	}
	for _, flag := range []string{"server", "data"} {
		if c.Flags().Changed(flag) && c.Flags().Changed("context") {
			return fmt.Errorf("--context and --%s both say where the API is: leave one out", flag)
		}
		if c.Flags().Changed(flag) { // it goes before a variable
			a.context = ""
		}
	}
	a.said.server, a.said.tokenFile = a.server, a.tokenFile
	_ = a.find() // who talks to the API is told
	a.patient = !c.Flags().Changed("timeout")
	a.started = true
	return nil
}

// subcommand refuses words that are no command below this one; cobra's own check reaches the root only.
func (a *app) subcommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return fmt.Errorf("%s has no command %q%s\nRun '%s --help' for usage", c.CommandPath(), args[0],
		didYouMean(args[0], names), c.CommandPath())
}

func showHelp(c *cobra.Command, _ []string) error { return c.Help() }
