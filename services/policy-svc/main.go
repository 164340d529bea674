// Command policy-svc answers who must enrol, who must give a code and who may pass, and keeps the audit log.
package main

import (
	"os"

	"sallyport/pkg/service"
	"sallyport/services/policy-svc/policy"
)

func main() { os.Exit(service.Main[policy.Settings]("policy-svc", policy.Start)) }
