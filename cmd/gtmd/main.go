// Command gtmd is the gtm server: it answers DNS (edge), serves the API (control) and checks endpoints (prober).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/store/embedded"
)

// version is set by the build.
var version = "dev"

func main() { os.Exit(run(os.Args[1:])) }

// run gives the exit code: 0 after a clean stop, 1 after a failure, 2 for wrong usage.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd := rootCommand()
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(screened{os.Stderr}, "gtmd: %v\nSee gtmd --help.\n", err)
		return 2
	}
	fmt.Fprintf(screened{os.Stderr}, "gtmd: %v\n", err)
	return 1
}

// usageError is an error in what was asked for.
type usageError struct{ error }

func rootCommand() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "gtmd",
		Short: "Serve DNS by client subnet, weight and health",
		Long: `gtmd is the gtm server. Without --roles it plays all of its roles, and without --etcd it runs an etcd of its own
in the data folder, so one command is a whole traffic manager. In production each role runs by itself.

Control's token, in its data folder, opens everything of all tenants: there are no other identities yet. Who uses it is "token" in
history; the names that clients give are told as no more than said. With --etcd, give each role only the rights in etcd that it
needs: docs/operating.md lists the commands.`,
		Example: `  gtmd --demo --apply zones/demo.yaml                      a demo on this machine
  gtmd --data /var/lib/gtm --apply /etc/gtm --dns 192.0.2.53:53
  gtmd --roles edge --etcd https://etcd1:2379,https://etcd2:2379 --etcd-ca ca.pem --dns 192.0.2.53:53`,
		Version: version, SilenceUsage: true, SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("%q is not understood: gtmd takes flags only", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.config()
			if err != nil {
				return usageError{err}
			}
			return serveRoles(cmd.Context(), cfg, cmd.OutOrStdout())
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	cmd.CompletionOptions.HiddenDefaultCmd = true
	f.register(cmd.Flags())
	cmd.AddCommand(&cobra.Command{
		Use: etcdCommand + " DIR", Hidden: true, Args: cobra.ExactArgs(1), Short: "Run the embedded etcd; gtmd starts this itself",
		RunE: func(cmd *cobra.Command, args []string) error { return embedded.Run(cmd.Context(), args[0]) },
	})
	return cmd
}

// etcdCommand is what the child process that holds etcd is called with.
const etcdCommand = "etcd"
