// Command sallyport answers: how does an operator run Sallyport and do what must not wait for a page?
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"sallyport/pkg/config"
	"sallyport/pkg/contract"
)

// commands are all there is; kong makes flags and help of them.
type commands struct {
	Up    upCommand    `cmd:"" help:"Run everything in one process: the four services on an embedded NATS, document store and SNS endpoint."`
	Infra infraCommand `cmd:"" help:"Run the embedded parts alone, for services started as separate processes."`

	Provision   provisionCommand   `cmd:"" help:"Make keys, passwords and certificates for parts that run apart, on Compose, Kubernetes or machines of their own."`
	NATSConf    natsConfCommand    `cmd:"" name:"nats-conf" help:"Print users and permissions for a NATS server of your own."`
	NATSPrepare natsPrepareCommand `cmd:"" name:"nats-prepare" help:"Make the streams, buckets and consumers on a NATS server of your own."`
	MongoInit   mongoInitCommand   `cmd:"" name:"mongo-init" help:"Print a mongosh script that makes the users of a MongoDB of your own."`

	Portal portalCommands `cmd:"" help:"The portals of this installation."`
	Admin  adminCommands  `cmd:"" help:"Master Admins of a portal."`
	User   userCommands   `cmd:"" help:"People of a portal: move them in and out."`
	Unlock unlockCommand  `cmd:"" help:"Open what wrong codes have locked, for one person."`
	Texts  textsCommands  `cmd:"" help:"Text messages: the countries they go to, and stops."`
	Audit  auditCommands  `cmd:"" help:"The audit log."`

	Keys keysCommands `cmd:"" help:"The keys that seal what is kept and what services tell each other: state, rotation, AWS KMS."`

	DeadLetters deadLettersCommands `cmd:"" help:"Messages that no service could use."`

	Doctor doctorCommand `cmd:"" help:"Check every dependency, and say what is wrong and what to do."`
}

func main() { os.Exit(run(os.Args[1:])) }

// run returns the exit status: 0 for success, 1 for a fault, 2 for flags or settings that are not usable.
func run(args []string) int {
	var c commands
	parser, err := kong.New(&c, kong.Name("sallyport"), kong.UsageOnError(), kong.Description("A self-hosted second-factor gate for customer portals."))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	k, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "sallyport: %v (see sallyport --help)\n", err)
		return 2
	}
	if err := k.Run(); err != nil {
		return fault(err)
	}
	return 0
}

// fault says what went wrong, and returns the exit status for it.
func fault(err error) int {
	var refusal *contract.Error
	if errors.As(err, &refusal) {
		// A refusal is a sentence for a person; its code is for programs.
		fmt.Fprintf(os.Stderr, "sallyport: %s\n", strings.TrimSpace(strings.ReplaceAll(err.Error(), string(refusal.Code)+": ", "")))
		if refusal.Code == contract.InvalidRequest {
			return 2
		}
		return 1
	}
	fmt.Fprintf(os.Stderr, "sallyport: %v\n", err)
	var settings *config.Error
	if errors.As(err, &settings) {
		return 2
	}
	return 1
}
