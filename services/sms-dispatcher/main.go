// Command sms-dispatcher sends text messages with codes, checks the codes, and keeps the numbers they go to.
package main

import (
	"os"

	"sallyport/pkg/service"
	"sallyport/services/sms-dispatcher/sms"
)

func main() { os.Exit(service.Main[sms.Settings]("sms-dispatcher", sms.Start)) }
