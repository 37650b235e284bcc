package main

import (
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/cmd/gtmctl/session"
	"github.com/gti/gtm/pkg/control/secure"
)

// contextName is the command of contexts.
const contextName = "context"

// takeContext has the context that was named, or else the current one, say what no flag and no variable does. The current one says nothing
// where a flag or a variable says where the API is.
func (a *app) takeContext() error {
	all, err := session.LoadContexts(session.Dir(a.getenv))
	if err != nil {
		return err
	}
	if a.context == "" {
		if a.server != "" || a.data != "" || all.Current == "" {
			return nil
		}
		a.context = all.Current
	}
	k, err := all.Get(a.context)
	if err != nil {
		return err
	}
	a.server, a.data = k.Server, ""
	for to, said := range map[*string]string{&a.tokenFile: k.TokenFile, &a.links.pin: k.Pin, &a.links.ca: k.CAFile,
		&a.links.cert: k.CertFile, &a.links.key: k.KeyFile} {
		if *to == "" {
			*to = said
		}
	}
	return nil
}

func (a *app) contextCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   contextName,
		Short: "Name the systems that you work with, and choose one",
		Long: `A context is a name for how one system is reached: its server, a token file, and what its certificate is known by. The one of
"use" counts wherever neither --context nor --server nor --data (nor their variables) says another. Contexts are kept in a file of your
own ($GTM_CONFIG, or $XDG_CONFIG_HOME/gtm, or ~/.config/gtm); logins are kept by server, apart from them.`,
		Args: a.subcommand,
		RunE: showHelp,
	}
	one := func(use, short, example string, do func(all *session.Contexts, name string) error) *cobra.Command {
		return &cobra.Command{Use: use + " NAME", Short: short, Example: example, Args: needArgs(1, 1),
			ValidArgsFunction: a.completeContext,
			RunE: func(_ *cobra.Command, args []string) error {
				all, err := session.LoadContexts(session.Dir(a.getenv))
				if err != nil {
					return err
				}
				return do(all, args[0])
			}}
	}
	c.AddCommand(a.contextListCmd(),
		one("add", "Keep how a system is reached: what the flags of this call say",
			"  gtmctl context add prod --server https://gtm.example.org:8053\n"+
				"  gtmctl context add lab --server http://127.0.0.1:8053 --token-file data/token", a.addContext),
		one("use", "Work with this system from now on", "  gtmctl context use prod", func(all *session.Contexts, name string) error {
			if err := all.Use(name); err != nil {
				return err
			}
			a.printf("%s, at %s, is what gtmctl works with now\n", name, all.All[name].Server)
			return nil
		}),
		one("remove", "Forget a context; a login to its server stays", "  gtmctl context remove lab",
			func(all *session.Contexts, name string) error {
				was := all.Current
				if err := all.Remove(name); err != nil {
					return err
				}
				if was == name {
					fmt.Fprintln(a.err, "no context is the current one now: gtmctl context use chooses one")
				}
				a.printf("%s is forgotten\n", name)
				return nil
			}))
	return c
}

// addContext keeps what flags and variables say.
func (a *app) addContext(all *session.Contexts, name string) error {
	u, err := url.Parse(a.said.server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return misusef("say where it is with --server, as in --server https://gtm.example.org:8053")
	}
	k := session.Context{Server: a.said.server, TokenFile: a.said.tokenFile, Pin: a.links.pin, CAFile: a.links.ca, CertFile: a.links.cert,
		KeyFile: a.links.key}
	if k.Pin != "" {
		if err := secure.CheckPin(k.Pin); err != nil {
			return misusef("--pin: %w", err)
		}
	}
	for _, file := range []*string{&k.TokenFile, &k.CAFile, &k.CertFile, &k.KeyFile} {
		if *file != "" {
			if *file, err = filepath.Abs(*file); err != nil {
				return err
			}
		}
	}
	if k.TokenFile != "" {
		if _, err := readToken(k.TokenFile); err != nil {
			return err
		}
	}
	if err := all.Put(name, k); err != nil {
		return err
	}
	a.printf("%s is %s\n", name, k.Server)
	if all.Current != name {
		fmt.Fprintf(a.err, "gtmctl context use %s makes it what gtmctl works with\n", name)
	}
	return nil
}

func (a *app) contextListCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List your contexts",
		Example: "  gtmctl context list",
		Args:    needArgs(0, 0),
		RunE: func(*cobra.Command, []string) error {
			all, err := session.LoadContexts(session.Dir(a.getenv))
			if err != nil {
				return err
			}
			type row struct {
				Name    string `json:"name"`
				Current bool   `json:"current,omitempty"`
				session.Context
			}
			list := []row{}
			for _, name := range all.Names() {
				list = append(list, row{name, name == all.Current, all.All[name]})
			}
			return a.emit(list, func() {
				if len(list) == 0 {
					fmt.Fprintln(a.err, "there are none; gtmctl context add NAME --server URL keeps one")
					return
				}
				var rows [][]string
				for _, r := range list {
					mark := ""
					if r.Current {
						mark = "*"
					}
					rows = append(rows, []string{mark, r.Name, r.Server, firstOf(r.TokenFile, r.CertFile, "gtmctl login")})
				}
				a.table([]string{"", "name", "server", "who you are"}, rows)
			})
		},
	}
}

// completeContext gives the contexts there are.
func (a *app) completeContext(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	all, err := session.LoadContexts(session.Dir(a.getenv))
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return all.Names(), cobra.ShellCompDirectiveNoFileComp
}
