package main

import (
	"fmt"

	"sallyport/pkg/store"
)

// mongoInitCommand is `sallyport mongo-init`.
type mongoInitCommand struct{}

// Help is the long help.
func (*mongoInitCommand) Help() string {
	return "Prints a script for mongosh that makes one user per service, who reads and writes that service's own database and nothing else, and one for the operator's commands. Passwords are not in it: it reads one file for each."
}

// Run prints it.
func (*mongoInitCommand) Run() error {
	script, err := store.Script(store.Users(services()))
	if err != nil {
		return err
	}
	_, err = fmt.Print(script)
	return err
}
