"""The pages: what people see of the runs, made on the server, readable without JavaScript."""
