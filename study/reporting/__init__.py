"""Reports of studies: tables, figures, and the page that combines them."""
