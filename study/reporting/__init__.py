"""Where readers look: tables and, later, figures and pages."""
