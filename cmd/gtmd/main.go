// Command gtmd is the gtm server: it answers DNS (edge), serves the API (control) and checks endpoints (prober).
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/control/identity"
	"github.com/gti/gtm/pkg/private"
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

The first start makes an admin token, in the file token of the data folder, which opens everything of all tenants: give people and
programs tokens of their own (gtmctl token create), or logins (--oidc-issuer), and roles (kind: Access). Who is locked out makes a new one
with gtmd admin-token, on this machine. With --etcd, give each role only the rights in etcd that it needs: docs/operating.md lists the
commands.`,
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
	cmd.AddCommand(adminTokenCommand())
	return cmd
}

// adminTokenCommand makes a new admin token. It needs nothing but the machine, so that nobody can be locked out.
func adminTokenCommand() *cobra.Command {
	data := "data"
	cmd := &cobra.Command{
		Use: "admin-token", Short: "Make a new admin token, in the place of the one before", Args: cobra.NoArgs,
		Long: `Make a new admin token in the file token of the data folder, in the place of the one before, which opens nothing any
more. A gtmd that runs takes it at once. It needs neither the API nor etcd.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := private.CheckFolder(data, "the folder of --data"); err != nil {
				return err
			}
			path := filepath.Join(data, "token")
			if err := identity.ReplaceToken(path); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "a new admin token is in %s; the one before opens nothing any more\n", path)
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", data, "data folder of gtmd")
	return cmd
}

// etcdCommand is what the child process that holds etcd is called with.
const etcdCommand = "etcd"

// crashFile is where the runtime writes why the process crashes, beside the standard error.
const crashFile = "crash"

// keepCrashes has the runtime write down a crash of this process, and reports whether the one before left such a word, which is kept as
// crash.last.
func keepCrashes(dir string, log *slog.Logger) (crashed bool) {
	path := filepath.Join(dir, crashFile)
	if info, err := os.Stat(path); err == nil && info.Size() > 0 {
		crashed = true
		log.Error("THE PROCESS BEFORE THIS ONE CRASHED", "trace", path+".last")
		if err := os.Rename(path, path+".last"); err != nil {
			log.Warn("the trace of a crash cannot be kept", "error", err)
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		err = debug.SetCrashOutput(f, debug.CrashOptions{}) // it has a descriptor of its own
		_ = f.Close()
	}
	if err != nil {
		log.Warn("a crash of this process would leave no trace on disk", "error", err)
	}
	return crashed
}
