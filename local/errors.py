"""What can go wrong with the local stack. Every message says what to do next."""


class StackError(Exception):
    """Base of the errors that the command line prints without a traceback."""


class SettingError(StackError):
    """A variable has a value that the stack cannot use."""


class PortBusyError(StackError):
    """Another process listens on a port of the stack."""


class StartError(StackError):
    """A process of the stack did not become ready; the message ends with the tail of its log."""


class BrokerError(StackError):
    """The broker could not be prepared, started or stopped."""
